"""Convolutions by tiles, from images to images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from slicer_core.evaluate.winograd.by_compiler import CompiledConvolution, compiled
from slicer_core.evaluate.winograd.by_torch import TorchConvolution
from slicer_core.evaluate.winograd.memory import Memory
from slicer_core.evaluate.winograd.shape import ConvolutionShape

FEWEST_CHANNELS = 16
"""With fewer, in or out, the transforms of images cost what the products save; some more by torch's operations."""

_FEWEST_CHANNELS_BY_TORCH = 48


class TiledConvolution(Protocol):
    """Convolutions of one shape."""

    @property
    def filter_bytes(self) -> int:
        """What `filters_of` gives takes."""
        ...

    def filters_of(self, weight: Tensor, *, kept: bool = False) -> Tensor:
        """The transform of a weight of shape (outputs, channels, 3, 3).

        In memory that the next convolution writes to, or where it is `kept`, in memory of its own.
        """
        ...

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
        """Writes the convolution to `out`, and what follows it.

        Outputs that are not finite make at least their image NaN: sums of inputs may overflow where no output would,
        and after an activation what is left of that could look like a number.

        Args:
            x: images, of shape (images, channels, height, width), quickest where channels are last in memory.
            filters: the weight's, by `filters_of`.
            bias: of shape (outputs,).
            out: of shape (images, outputs, out_height, out_width).
            added: what is added to that, of the same shape.
            relu: whether what is then below zero becomes zero.
        """
        ...


def tiled_convolutions_of(
    shapes: Sequence[ConvolutionShape], *, most_bytes: int = sys.maxsize
) -> list[TiledConvolution | None]:
    """One for each shape, which run one after another, since they share their memory.

    None for those with which that would take more than `most_bytes`.
    """
    memory, fitting = Memory(), set[ConvolutionShape]()
    for shape in shapes:
        needs = _kind(shape).needs(shape)
        if memory.bytes_with(needs, shape.dtype) <= most_bytes:
            memory.reserve(needs, shape.dtype)
            fitting.add(shape)
    return [_kind(shape)(shape, memory) if shape in fitting else None for shape in shapes]


def saves_products(shape: ConvolutionShape) -> bool:
    """Whether there are channels enough for tiles to pay."""
    fewest = FEWEST_CHANNELS if _kind(shape) is CompiledConvolution else _FEWEST_CHANNELS_BY_TORCH
    return min(shape.channels, shape.outputs) >= fewest


def _kind(shape: ConvolutionShape) -> type[TorchConvolution | CompiledConvolution]:
    is_alone = torch.get_num_threads() == 1 and shape.dtype is torch.float32
    return CompiledConvolution if is_alone and compiled() is not None else TorchConvolution
