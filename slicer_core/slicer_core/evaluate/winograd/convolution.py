"""Which way convolutions by tiles are done."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from slicer_core.evaluate.native import Memory
from slicer_core.evaluate.winograd.by_compiler import CompiledConvolution, compiled
from slicer_core.evaluate.winograd.by_torch import TorchConvolution
from slicer_core.evaluate.winograd.shape import ConvolutionShape
from slicer_core.evaluate.winograd.tiled_convolution import TiledConvolution

FEWEST_CHANNELS = 16
"""With fewer, in or out, the transforms of images cost what the products save; some more by torch's operations."""

_FEWEST_CHANNELS_BY_TORCH = 48


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
