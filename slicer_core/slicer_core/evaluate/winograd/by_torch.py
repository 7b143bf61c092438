"""Convolutions by tiles in torch's operations, a chunk of images at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from slicer_core.evaluate.native import Memory, Sizes
from slicer_core.evaluate.winograd.filters import write_filters
from slicer_core.evaluate.winograd.shape import PRODUCTS, STEP, TILE, ConvolutionShape
from slicer_core.evaluate.winograd.tiled_convolution import TiledConvolution


class TorchConvolution(TiledConvolution):
    """See `TiledConvolution`."""

    def __init__(self, shape: ConvolutionShape, memory: Memory) -> None:
        super().__init__(shape, memory)
        n, th, tw = shape.chunk, shape.high, shape.wide
        top, left = shape.padding
        padded = torch.zeros(n, STEP * th + 2, STEP * tw + 2, shape.channels, dtype=shape.dtype)
        self._images = padded[:, top : top + shape.height, left : left + shape.width]
        self._image_rows = [padded[:, start : start + STEP * th - 3 : STEP] for start in range(TILE)]
        used = {
            name: [memory.parts(name, shape.dtype, use) for use in uses] for name, uses in self.scratch(shape).items()
        }
        (self._rows, *self._row_scratch), (self._sums,) = used["rows, sums"]
        (self._inputs, *self._column_scratch), (self._halves, *scratch) = used["inputs, outputs"]
        self._sum_scratch, self._half_scratch, (self._outputs,) = scratch[:4], scratch[4:8], scratch[8:]
        self._columns = [self._rows[:, :, :, start : start + STEP * tw - 3 : STEP] for start in range(TILE)]

    @staticmethod
    def filter_sizes(shape: ConvolutionShape) -> tuple[int, ...]:
        """See `TiledConvolution`."""
        return shape.outputs, PRODUCTS, shape.channels

    @staticmethod
    def scratch(shape: ConvolutionShape) -> dict[str, list[Sizes]]:
        """See `TiledConvolution`; what is written over rows and inputs is written when they are read no more."""
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

    def _transform(self, weight: Tensor, place: Tensor) -> None:
        write_filters(weight, place)

    def _convolve(
        self, given: Tensor, filters: Tensor, bias: Tensor | None, added: Tensor | None, relu: bool, made: Tensor
    ) -> None:
        shape, matrices = self._shape, filters.permute(1, 2, 0)
        inputs = self._inputs.view(PRODUCTS, shape.tiles, shape.channels)
        sums = self._sums.view(PRODUCTS, shape.tiles, shape.outputs)
        for start in range(0, shape.images, shape.chunk):
            # Some of the last chunk twice rather than a chunk of another size.
            first = min(start, shape.images - shape.chunk)
            self._read(given[first : first + shape.chunk])
            torch.bmm(inputs, matrices, out=sums)
            self._write(made[first : first + shape.chunk], bias)
        if added is not None:
            made += added
        if relu:
            made.relu_()

    def _read(self, images: Tensor) -> None:
        """Transforms images of shape (n, height, width, channels)."""
        self._images.copy_(images)
        _transform_inputs(self._image_rows, self._rows, self._row_scratch)
        _transform_inputs(self._columns, self._inputs, self._column_scratch)

    def _write(self, images: Tensor, bias: Tensor | None) -> None:
        """Transforms the sums, which are lost, to images of shape (n, out_height, out_width, outputs)."""
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
