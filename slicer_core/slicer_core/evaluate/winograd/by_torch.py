"""The transforms of inputs and sums by torch's operations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from slicer_core.evaluate.winograd.memory import Memory, Sizes
from slicer_core.evaluate.winograd.shape import PRODUCTS, STEP, TILE, ConvolutionShape


class TorchTransforms:
    """See `Transforms`."""

    def __init__(self, shape: ConvolutionShape, memory: Memory) -> None:
        self._shape = shape
        n, th, tw = shape.chunk, shape.high, shape.wide
        top, left = shape.padding
        padded = torch.zeros(n, STEP * th + 2, STEP * tw + 2, shape.channels, dtype=shape.dtype)
        self._images = padded[:, top : top + shape.height, left : left + shape.width]
        self._image_rows = [padded[:, start : start + STEP * th - 3 : STEP] for start in range(TILE)]
        used = {
            name: [memory.parts(name, shape.dtype, use) for use in uses] for name, uses in self.needs(shape).items()
        }
        (self._rows, *self._row_scratch), (self._sums,) = used["rows, sums"]
        (self._inputs, *self._column_scratch), (self._halves, *scratch) = used["inputs, outputs"]
        self._sum_scratch, self._half_scratch, (self._outputs,) = scratch[:4], scratch[4:8], scratch[8:]
        self._columns = [self._rows[:, :, :, start : start + STEP * tw - 3 : STEP] for start in range(TILE)]
        self.inputs = self._inputs.view(PRODUCTS, shape.tiles, shape.channels)
        self.sums = self._sums.view(PRODUCTS, shape.tiles, shape.outputs)

    @staticmethod
    def needs(shape: ConvolutionShape) -> dict[str, list[Sizes]]:
        """See `Memory`: what is written over the rows and the inputs is written when they are read no more."""
        n, th, tw = shape.chunk, shape.high, shape.wide
        row, tile = (n, th, STEP * tw + 2, shape.channels), (n, th, tw, shape.channels)
        sums, outputs = (n, th, tw, shape.outputs), (n, th, STEP, tw, STEP, shape.outputs)
        return {
            "rows, sums": [[(TILE, *row), row, row], [(TILE, TILE, *sums)]],
            "inputs, outputs": [
                [(TILE, TILE, *tile), *[(TILE, *tile)] * 2],
                [(STEP, TILE, *sums), *[(TILE, *sums)] * 4, *[(STEP, *sums)] * 4, outputs],
            ],
        }

    def read(self, images: Tensor) -> None:
        """See `Transforms`."""
        self._images.copy_(images)
        _transform_inputs(self._image_rows, self._rows, self._row_scratch)
        _transform_inputs(self._columns, self._inputs, self._column_scratch)

    def write(self, images: Tensor, bias: Tensor | None) -> None:
        """See `Transforms`."""
        shape = self._shape
        if bias is not None:
            # The one entry that all outputs of a tile have with a factor of one.
            self._sums[1, 1] += bias
        _transform_sums(self._sums, self._halves, self._sum_scratch)
        is_tiled = images.is_contiguous() and shape.covered == 1
        tiles = images.view(self._outputs.shape) if is_tiled else self._outputs
        _transform_sums(self._halves.transpose(0, 1), tiles.permute(2, 4, 0, 1, 3, 5), self._half_scratch)
        if not is_tiled:
            whole = tiles.flatten(3, 4).flatten(1, 2)
            images.copy_(whole[:, : shape.out_height, : shape.out_width])
        if not math.isfinite(images.sum()):
            images.fill_(math.nan)


def _transform_inputs(d: Sequence[Tensor], out: Tensor, scratch: Sequence[Tensor]) -> None:
    """Bᵀd along the first axis."""
    even, odd = scratch
    torch.sub(d[4], d[2], alpha=4, out=even)
    torch.sub(d[3], d[1], alpha=4, out=odd)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.sub(d[4], d[2], out=even)
    torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    torch.sub(d[0], d[2], out=odd)
    torch.add(even, odd, alpha=4, out=out[0])
    torch.sub(d[5], d[3], out=even)
    torch.sub(d[1], d[3], out=odd)
    torch.add(even, odd, alpha=4, out=out[5])


def _transform_sums(m: Tensor, out: Tensor, scratch: Sequence[Tensor]) -> None:
    """Aᵀm along the first axis."""
    near, near_odd, far, far_odd = scratch
    torch.add(m[1], m[2], out=near)
    torch.sub(m[1], m[2], out=near_odd)
    torch.add(m[3], m[4], out=far)
    torch.sub(m[3], m[4], out=far_odd)
    torch.add(near_odd, far_odd, alpha=2, out=out[1])
    torch.add(near, far, alpha=4, out=out[2])
    near += m[0]
    torch.add(near, far, out=out[0])
    near_odd += m[5]
    torch.add(near_odd, far_odd, alpha=8, out=out[3])
