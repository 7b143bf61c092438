"""Convolutions by tiles in C, for a process of one thread where there is a compiler.

A few tiles are transformed, multiplied and transformed back at a time, so that what lies between never leaves a cache.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from slicer_core.evaluate.winograd.memory import Memory, Sizes
from slicer_core.evaluate.winograd.shape import PRODUCTS, ConvolutionShape
from slicer_core.evaluate.winograd.tail import with_tail

_SOURCE = Path(__file__).with_name("tiles.c")
# The first that the compiler takes; what is not finite is told by arithmetic, whatever `CC` says of it.
_FLAGS = tuple(("-O3", *native, "-fno-fast-math") for native in (("-march=native",), ("-mcpu=native",), ()))
_SECONDS = 60
# Of how many tiles there are planes at a time. Filters that do not fit a cache are read for each group: more then.
_GROUP, _GROUP_OF_MANY_FILTERS = 24, 96
_MANY_FILTERS_BYTES = 4 * 2**20
# Numbers of a vector, at most, and what parts planes: see the source.
_MOST_LANES, _GAP = 16, 16


class CompiledConvolution:
    """See `TiledConvolution`."""

    def __init__(self, shape: ConvolutionShape, memory: Memory) -> None:
        library = compiled()
        assert library is not None
        self._library, self._shape, self._memory = library, shape, memory

    @staticmethod
    def needs(shape: ConvolutionShape) -> dict[str, list[Sizes]]:
        """See `Memory`."""
        group, depth = _group(shape), _filled_up(shape.channels, _MOST_LANES)
        return {
            "filters": [[_filter_sizes(shape)]],
            "inputs": [[(PRODUCTS, group * depth + _GAP)]],
            "sums": [[(PRODUCTS, group * _filled_up(shape.outputs, _block()) + _GAP)]],
        }

    @cached_property
    def _filters(self) -> Tensor:
        """Where those of weights that move are written; there may be none."""
        (place,) = self._memory.parts("filters", self._shape.dtype, [_filter_sizes(self._shape)])
        return place

    @cached_property
    def _scratch(self) -> tuple[Tensor, Tensor]:
        needs, dtype = self.needs(self._shape), self._shape.dtype
        (inputs,), (sums,) = (self._memory.parts(name, dtype, needs[name][0]) for name in ("inputs", "sums"))
        return inputs, sums

    @property
    def filter_bytes(self) -> int:
        """See `TiledConvolution`."""
        return self._shape.dtype.itemsize * math.prod(_filter_sizes(self._shape))

    def filters_of(self, weight: Tensor, *, kept: bool = False) -> Tensor:
        """See `TiledConvolution`."""
        place = weight.new_empty(_filter_sizes(self._shape)) if kept else self._filters
        self._library.winograd_filters(weight.data_ptr(), *weight.shape[:2], *weight.stride(), place.data_ptr())
        return place

    def __call__(
        self,
        x: Tensor,
        filters: Tensor,
        bias: Tensor | None,
        *,
        out: Tensor,
        added: Tensor | None = None,
        relu: bool = False,
    ) -> Tensor:
        """See `TiledConvolution`."""
        given, made = x.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1)
        if given.stride(3) != 1:
            given = given.contiguous()
        if made.stride(3) != 1 or (added is not None and added.stride() != out.stride()):
            place = torch.empty_like(out, memory_format=torch.channels_last)
            return with_tail(out.copy_(self(x, filters, bias, out=place)), added, relu=relu)
        # A copy has to stay alive while it is read.
        biases = None if bias is None else bias.contiguous()
        inputs, sums = self._scratch
        self._library.winograd_convolve(
            given.data_ptr(),
            *given.shape,
            *given.stride()[:3],
            *self._shape.padding,
            filters.data_ptr(),
            *(None if tensor is None else tensor.data_ptr() for tensor in (biases, added)),
            relu,
            made.data_ptr(),
            *made.shape[1:],
            *made.stride()[:3],
            _group(self._shape),
            inputs.data_ptr(),
            sums.data_ptr(),
        )
        return out


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The compiled functions; None where there is no compiler, or it fails."""
    # Whatever is amiss, from quotes in the variable to a full disk, torch's operations do the same.
    with contextlib.suppress(OSError, ValueError):
        compiler = shlex.split(os.environ.get("CC") or "cc")
        if compiler and shutil.which(compiler[0]) is not None:
            return _made_by(compiler)
    return None


def _made_by(compiler: Sequence[str]) -> ctypes.CDLL | None:
    # What is loaded needs its file no more.
    with tempfile.TemporaryDirectory(prefix="loss-slicer-") as folder:
        made = Path(folder) / "tiles.so"
        for flags in _FLAGS:
            command = [*compiler, *flags, "-shared", "-fPIC", str(_SOURCE), "-o", str(made)]
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS)
                return _declared(ctypes.CDLL(str(made)))
    return None


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


def _filter_sizes(shape: ConvolutionShape) -> tuple[int, int]:
    return PRODUCTS, shape.channels * _filled_up(shape.outputs, _block()) + _GAP


def _filled_up(count: int, whole: int) -> int:
    return -(-count // whole) * whole


def _group(shape: ConvolutionShape) -> int:
    has_many = PRODUCTS * shape.channels * shape.outputs * shape.dtype.itemsize > _MANY_FILTERS_BYTES
    return min(_GROUP_OF_MANY_FILTERS if has_many else _GROUP, shape.images * shape.high * shape.wide)
