"""The sizes of a convolution by tiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch

TILE, STEP, TAPS = 6, 4, 3
"""Inputs of a tile along an axis, outputs of it, and weights of a filter."""

PRODUCTS = TILE * TILE

# What the transformed inputs of the images of a chunk may have, so that they stay in a cache. With fewer tiles than
# these, matrix products mostly read filters.
_CHUNK_BYTES = 5 * 2**18
_CHUNK_TILES = 64


@dataclass(frozen=True, kw_only=True)
class ConvolutionShape:
    """The sizes of a convolution of 3 by 3 with stride 1, padded with zeros on both sides of each axis."""

    images: int
    channels: int
    height: int
    width: int
    outputs: int
    padding: tuple[int, int]
    dtype: torch.dtype

    @property
    def out_height(self) -> int:
        """Rows of an output."""
        return self.height + 2 * self.padding[0] - TAPS + 1

    @property
    def out_width(self) -> int:
        """Columns of an output."""
        return self.width + 2 * self.padding[1] - TAPS + 1

    @property
    def high(self) -> int:
        """How many tiles are on top of each other."""
        return -(-self.out_height // STEP)

    @property
    def wide(self) -> int:
        """How many tiles lie side by side."""
        return -(-self.out_width // STEP)

    @property
    def covered(self) -> float:
        """The share of what the tiles compute that is outputs."""
        return self.out_height * self.out_width / (self.high * self.wide * STEP**2)

    @property
    def chunk(self) -> int:
        """Images that are transformed together."""
        tiles = self.high * self.wide
        most = max(_CHUNK_TILES, _CHUNK_BYTES // (PRODUCTS * self.channels * self.dtype.itemsize)) // tiles
        count = -(-self.images // max(1, most))
        return -(-self.images // count)

    @property
    def tiles(self) -> int:
        """Of a chunk."""
        return self.chunk * self.high * self.wide
