"""Which point of an axis each cell of a picture shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """`indices[cell]` is the point, in the axis's own order, nearest to the middle of a cell from low to high.

    The cells cover the axis with half a step beyond its first and last point, so that on a regular axis all points
    get equally many cells if their number allows.
    """

    indices: np.ndarray
    values: np.ndarray
    first: float
    last: float

    def cell(self, value: float) -> int | None:
        """The cell that a coordinate falls into, None outside the axis."""
        if not self.values.min() <= value <= self.values.max():
            return None
        if not self.last > self.first:
            return 0
        size = len(self.indices)
        unit = _unit(self.values)
        return min(int((value / unit - self.first) / (self.last - self.first) * size), size - 1)


def sample_axis(values: np.ndarray, max_cells: int) -> Sampling:
    """Cells for an axis of n values, in any order: a multiple of n where it fits into `max_cells`, else `max_cells`."""
    num_cells = max_cells // values.size * values.size or max_cells
    order = np.argsort(values, kind="stable")
    places = values[order].astype(np.float64) / _unit(values)
    middles = (places[1:] + places[:-1]) / 2
    if places.size == 1:
        first, last = places[0] - 0.5, places[0] + 0.5
    else:
        first, last = places[0] - (middles[0] - places[0]), places[-1] + (places[-1] - middles[-1])
    # A hair below the middle of the cell: exactly between two points, rounding would take now one, now the other.
    positions = first + (np.arange(num_cells) + 0.5 - 1e-6) / num_cells * (last - first)
    indices = order[np.searchsorted(middles, positions)]
    return Sampling(indices=indices, values=values, first=float(first), last=float(last))


def _unit(values: np.ndarray) -> float:
    """The axis in this unit lies in [-1, 1], where differences can't overflow."""
    return float(np.abs(values.astype(np.float64)).max()) or 1.0
