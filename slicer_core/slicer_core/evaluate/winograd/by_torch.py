"""Convolutions by tiles in torch's operations, a chunk of images at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from slicer_core.evaluate.winograd.filters import filters_of
from slicer_core.evaluate.winograd.memory import Memory, Sizes
from slicer_core.evaluate.winograd.shape import PRODUCTS, STEP, TILE, ConvolutionShape
from slicer_core.evaluate.winograd.tail import with_tail


class TorchConvolution:
    """See `TiledConvolution`."""

    def __init__(self, shape: ConvolutionShape, memory: Memory) -> None:
        self._shape, self._memory = shape, memory
        n, th, tw = shape.chunk, shape.high, shape.wide
        top, left = shape.padding
        padded = torch.zeros(n, STEP * th + 2, STEP * tw + 2, shape.channels, dtype=shape.dtype)
        self._images = padded[:, top : top + shape.height, left : left + shape.width]
        self._image_rows = [padded[:, start : start + STEP * th - 3 : STEP] for start in range(TILE)]
        needs = self.needs(shape)
        used = {
            name: [memory.parts(name, shape.dtype, use) for use in needs[name]]
            for name in ("rows, sums", "inputs, outputs")
        }
        (self._rows, *self._row_scratch), (self._sums,) = used["rows, sums"]
        (self._inputs, *self._column_scratch), (self._halves, *scratch) = used["inputs, outputs"]
        self._sum_scratch, self._half_scratch, (self._outputs,) = scratch[:4], scratch[4:8], scratch[8:]
        self._columns = [self._rows[:, :, :, start : start + STEP * tw - 3 : STEP] for start in range(TILE)]

    @staticmethod
    def needs(shape: ConvolutionShape) -> dict[str, list[Sizes]]:
        """See `Memory`: what is written over the rows and the inputs is written when they are read no more."""
        n, th, tw = shape.chunk, shape.high, shape.wide
        row, tile = (n, th, STEP * tw + 2, shape.channels), (n, th, tw, shape.channels)
        sums, outputs = (n, th, tw, shape.outputs), (n, th, STEP, tw, STEP, shape.outputs)
        return {
            "filters": [[_filter_sizes(shape)]],
            "rows, sums": [[(TILE, *row), row, row], [(TILE, TILE, *sums)]],
            "inputs, outputs": [
                [(TILE, TILE, *tile), *[(TILE, *tile)] * 2],
                [(STEP, TILE, *sums), *[(TILE, *sums)] * 4, *[(STEP, *sums)] * 4, outputs],
            ],
        }

    @cached_property
    def _filters(self) -> Tensor:
        """Where those of weights that move are written; there may be none."""
        (place,) = self._memory.parts("filters", self._shape.dtype, [_filter_sizes(self._shape)])
        return place

    @property
    def filter_bytes(self) -> int:
        """See `TiledConvolution`."""
        return self._shape.dtype.itemsize * math.prod(_filter_sizes(self._shape))

    def filters_of(self, weight: Tensor, *, kept: bool = False) -> Tensor:
        """See `TiledConvolution`."""
        return filters_of(weight, out=None if kept else self._filters)

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
        shape = self._shape
        given, made, matrices = x.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1), filters.permute(1, 2, 0)
        inputs = self._inputs.view(PRODUCTS, shape.tiles, shape.channels)
        sums = self._sums.view(PRODUCTS, shape.tiles, shape.outputs)
        for start in range(0, shape.images, shape.chunk):
            # Some of the last chunk twice rather than a chunk of another size.
            first = min(start, shape.images - shape.chunk)
            self._read(given[first : first + shape.chunk])
            torch.bmm(inputs, matrices, out=sums)
            self._write(made[first : first + shape.chunk], bias)
        return with_tail(out, added, relu=relu)

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


def _filter_sizes(shape: ConvolutionShape) -> tuple[int, int, int]:
    return shape.outputs, PRODUCTS, shape.channels


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
