"""In which order the points of a slice are evaluated: coarse to fine, so that what is there first shows all of it.

An axis of n points has nested levels: level k holds the points nearest to 2ᵏ even steps, both ends among them. A grid
is done level by level, and within a level row by row, the rows in the order of their reversed binary digits (van der
Corput, 1935), so that any beginning is spread evenly and neighbors along a row still come together. A family of curves
is done curve by curve, the curves in such an order too: what a curve shares is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from slicer_core.slices.types import Geometry


@lru_cache(maxsize=8)
def coarse_to_fine(shape: tuple[int, ...], geometry: Geometry) -> np.ndarray:
    """The flat indices of all points of arrays of that shape, int64, in the order in which they are evaluated."""
    if geometry == "curves":
        num_curves, num_points = shape
        order = np.concatenate([curve * num_points + _line(num_points) for curve in spread(num_curves)])
    elif geometry == "grid":
        order = _grid(*shape)
    else:
        order = _line(shape[0])
    order.setflags(write=False)
    return order


def num_levels(size: int) -> int:
    """How many levels an axis has; the last one holds all of its points."""
    return 1 if size < 3 else math.ceil(math.log2(size - 1)) + 1


def level_indices(size: int, level: int) -> np.ndarray:
    """The indices that a level of an axis of `size` points holds, ascending; each level holds those before it."""
    if level >= num_levels(size) - 1:
        return np.arange(size)
    steps = 2**level
    # In whole numbers, so that a point of one level is the same in the next.
    return np.array([(2 * step * (size - 1) + steps) // (2 * steps) for step in range(steps + 1)])


def spread(count: int) -> np.ndarray:
    """0 … count-1 in the order of their reversed binary digits: any beginning is spread over all of them."""
    digits = max(1, (count - 1).bit_length())
    reversed_digits = (int(f"{number:0{digits}b}"[::-1], 2) for number in range(2**digits))
    return np.array([number for number in reversed_digits if number < count], dtype=np.int64)


def finished_level(shape: Sequence[int], done: np.ndarray) -> int | None:
    """The finest level of which all points are `done` (a mask of the flat indices); None where not even the first."""
    mask, found = done.reshape(tuple(shape)), None
    for level in range(max(num_levels(size) for size in shape)):
        if not mask[np.ix_(*(level_indices(size, level) for size in shape))].all():
            break
        found = level
    return found


def _line(size: int) -> np.ndarray:
    order: list[int] = []
    for level in range(num_levels(size)):
        fresh = _fresh(level_indices(size, level), order)
        order += fresh[spread(len(fresh))].tolist() if len(fresh) else []
    return np.array(order, dtype=np.int64)


def _grid(num_rows: int, num_columns: int) -> np.ndarray:
    done = np.zeros((num_rows, num_columns), dtype=bool)
    order: list[np.ndarray] = []
    for level in range(max(num_levels(num_rows), num_levels(num_columns))):
        rows, columns = level_indices(num_rows, level), level_indices(num_columns, level)
        for row in rows[spread(len(rows))]:
            fresh = columns[~done[row, columns]]
            order.append(row * num_columns + fresh)
        done[np.ix_(rows, columns)] = True
    return np.concatenate(order)


def _fresh(indices: np.ndarray, before: Sequence[int]) -> np.ndarray:
    return indices[~np.isin(indices, np.asarray(before, dtype=np.int64))]
