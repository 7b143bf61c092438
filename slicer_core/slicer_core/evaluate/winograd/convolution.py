"""A convolution by tiles, from images to images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from slicer_core.evaluate.winograd.by_compiler import CompiledTransforms, compiled
from slicer_core.evaluate.winograd.by_torch import TorchTransforms
from slicer_core.evaluate.winograd.filters import filters_of
from slicer_core.evaluate.winograd.memory import Memory
from slicer_core.evaluate.winograd.shape import PRODUCTS, ConvolutionShape

FEWEST_CHANNELS = 32
"""With fewer, in or out, the transforms of images cost what the products save; some more by torch's operations."""

_FEWEST_CHANNELS_BY_TORCH = 48


class Transforms(Protocol):
    """What is done before and after the matrix products, on a chunk of images of shape (n, height, width, channels)."""

    inputs: Tensor
    """Of shape (36, tiles, channels), of which there may be more than the chunk has."""

    sums: Tensor
    """Of shape (36, tiles, outputs), as many."""

    def read(self, images: Tensor) -> None:
        """Writes the images' tiles, transformed, to `inputs`."""

    def write(self, images: Tensor, bias: Tensor | None) -> None:
        """Writes the tiles of `sums`, transformed, plus a bias of shape (outputs,) to the images; `sums` is lost.

        Outputs that are not finite make at least their image NaN: sums of inputs may overflow where no output would,
        and after an activation what is left of that could look like a number.
        """


class TiledConvolution:
    """Convolutions of one shape."""

    def __init__(self, shape: ConvolutionShape, transforms: Transforms, memory: Memory) -> None:
        self._shape, self._transforms, self._memory = shape, transforms, memory

    @cached_property
    def _filters(self) -> Tensor:
        """Where those of weights that move are written; there may be none."""
        shape = self._shape
        (place,) = self._memory.parts("filters", shape.dtype, [(shape.outputs, PRODUCTS, shape.channels)])
        return place

    def filters_of(self, weight: Tensor) -> Tensor:
        """As the function of that name, in memory that the next convolution writes to."""
        return filters_of(weight, out=self._filters)

    def __call__(self, x: Tensor, filters: Tensor, bias: Tensor | None, *, out: Tensor) -> Tensor:
        """Writes the convolution to `out`.

        Args:
            x: images, of shape (images, channels, height, width), quickest where channels are last in memory.
            filters: the weight's, by `filters_of`.
            bias: of shape (outputs,).
            out: of shape (images, outputs, out_height, out_width).
        """
        shape, transforms = self._shape, self._transforms
        given, made, matrices = x.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1), filters.permute(1, 2, 0)
        for start in range(0, shape.images, shape.chunk):
            # Some of the last chunk twice rather than a chunk of another size.
            first = min(start, shape.images - shape.chunk)
            transforms.read(given[first : first + shape.chunk])
            torch.bmm(transforms.inputs, matrices, out=transforms.sums)
            transforms.write(made[first : first + shape.chunk], bias)
        return out


def tiled_convolutions_of(
    shapes: Sequence[ConvolutionShape], *, most_bytes: int = sys.maxsize
) -> list[TiledConvolution | None]:
    """One for each shape, which run one after another, since they share their memory.

    None for those with which that would take more than `most_bytes`.
    """
    memory, fitting = Memory(), set[ConvolutionShape]()
    for shape in shapes:
        needs = {**_kind(shape).needs(shape), "filters": [[(shape.outputs, PRODUCTS, shape.channels)]]}
        if memory.bytes_with(needs, shape.dtype) <= most_bytes:
            memory.reserve(needs, shape.dtype)
            fitting.add(shape)
    return [
        TiledConvolution(shape, _kind(shape)(shape, memory), memory) if shape in fitting else None for shape in shapes
    ]


def saves_products(shape: ConvolutionShape) -> bool:
    """Whether there are channels enough for tiles to pay."""
    fewest = FEWEST_CHANNELS if _kind(shape) is CompiledTransforms else _FEWEST_CHANNELS_BY_TORCH
    return min(shape.channels, shape.outputs) >= fewest


def _kind(shape: ConvolutionShape) -> type[TorchTransforms | CompiledTransforms]:
    is_alone = torch.get_num_threads() == 1 and shape.dtype is torch.float32
    return CompiledTransforms if is_alone and compiled() is not None else TorchTransforms
