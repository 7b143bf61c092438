"""Convolutions by tiles in C, for a process of one thread where there is a compiler.

A few tiles are transformed, multiplied and transformed back at a time, so that what lies between never leaves a cache.
"""

from __future__ import annotations

import ctypes
import functools
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from slicer_core.evaluate.native import Memory, Sizes, library
from slicer_core.evaluate.winograd.shape import PRODUCTS, ConvolutionShape
from slicer_core.evaluate.winograd.tiled_convolution import TiledConvolution

_SOURCE = Path(__file__).with_name("tiles.c")
# Of how many tiles there are planes at a time. Filters that do not fit a cache are read for each group: more then.
_GROUP, _GROUP_OF_MANY_FILTERS = 24, 96
_MANY_FILTERS_BYTES = 4 * 2**20
# Numbers of a vector, at most, and what parts planes: see the source.
_MOST_LANES, _GAP = 16, 16


class CompiledConvolution(TiledConvolution):
    """See `TiledConvolution`."""

    def __init__(self, shape: ConvolutionShape, memory: Memory) -> None:
        super().__init__(shape, memory)
        library = compiled()
        assert library is not None
        self._library = library

    @staticmethod
    def filter_sizes(shape: ConvolutionShape) -> tuple[int, ...]:
        """See `TiledConvolution`."""
        return PRODUCTS, shape.channels * _filled_up(shape.outputs, _block()) + _GAP

    @staticmethod
    def scratch(shape: ConvolutionShape) -> dict[str, list[Sizes]]:
        """See `TiledConvolution`."""
        group, depth = _group(shape), _filled_up(shape.channels, _MOST_LANES)
        return {
            "inputs": [[(PRODUCTS, group * depth + _GAP)]],
            "sums": [[(PRODUCTS, group * _filled_up(shape.outputs, _block()) + _GAP)]],
        }

    @cached_property
    def _planes(self) -> tuple[Tensor, Tensor]:
        scratch, dtype = self.scratch(self._shape), self._shape.dtype
        (inputs,), (sums,) = (self._memory.parts(name, dtype, scratch[name][0]) for name in ("inputs", "sums"))
        return inputs, sums

    def _transform(self, weight: Tensor, place: Tensor) -> None:
        self._library.winograd_filters(weight.data_ptr(), *weight.shape[:2], *weight.stride(), place.data_ptr())

    def _convolve(
        self, given: Tensor, filters: Tensor, bias: Tensor | None, added: Tensor | None, relu: bool, made: Tensor
    ) -> None:
        # Copies have to stay alive while they are read.
        images = given if given.stride(3) == 1 else given.contiguous()
        biases = None if bias is None else bias.contiguous()
        place = made if made.stride(3) == 1 else torch.empty(made.shape, dtype=made.dtype)
        if added is not None and added.stride() != place.stride():
            added = torch.empty_strided(place.shape, place.stride(), dtype=place.dtype).copy_(added)
        inputs, sums = self._planes
        self._library.winograd_convolve(
            images.data_ptr(),
            *images.shape,
            *images.stride()[:3],
            *self._shape.padding,
            filters.data_ptr(),
            *(None if tensor is None else tensor.data_ptr() for tensor in (biases, added)),
            relu,
            place.data_ptr(),
            *place.shape[1:],
            *place.stride()[:3],
            _group(self._shape),
            inputs.data_ptr(),
            sums.data_ptr(),
        )
        if place is not made:
            made.copy_(place)


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The compiled functions; None where there is no compiler, or it fails."""
    found = library(_SOURCE)
    return None if found is None else _declared(found)


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    number, pointer = ctypes.c_ssize_t, ctypes.c_void_p
    library.winograd_filters.argtypes = [pointer, *[number] * 6, pointer]
    library.winograd_convolve.argtypes = [
        *(pointer, *[number] * 9),
        *(pointer, pointer, pointer, ctypes.c_int),
        *(pointer, *[number] * 7, pointer, pointer),
    ]
    library.winograd_filters.restype = library.winograd_convolve.restype = None
    return library


@functools.cache
def _block() -> int:
    library = compiled()
    assert library is not None
    return ctypes.c_ssize_t.in_dll(library, "winograd_block").value


def _filled_up(count: int, whole: int) -> int:
    return -(-count // whole) * whole


def _group(shape: ConvolutionShape) -> int:
    has_many = PRODUCTS * shape.channels * shape.outputs * shape.dtype.itemsize > _MANY_FILTERS_BYTES
    return min(_GROUP_OF_MANY_FILTERS if has_many else _GROUP, shape.images * shape.high * shape.wide)
