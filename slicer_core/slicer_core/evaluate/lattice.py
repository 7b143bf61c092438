"""Lattices of a slice's own lines, and how a finer one is predicted from a coarser one. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_ORDER, _ORDER_AT_ENDS = 6, 5
"""Points of the polynomials along an axis; fewer where they would lie on one side, which magnifies rounding."""
_MIN_INTERVALS = 10
"""Along an axis, on the coarsest lattice that is evaluated whole."""
_PROBES, _PROBES_ON_CURVES = 31, 11
"""Of so many points of a lattice one is evaluated in any case."""
_AT_EDGES = 2.0
"""Times as much error is expected of points next to an edge: of prod |x - node| over five nodes, which the error is
proportional to, the outermost interval has 2.3 times as much as the one beside it."""
_AROUND = 2
"""How many lines away an evaluated point still tells of its neighbors."""


def lines(size: int, *, below: int) -> list[np.ndarray]:
    """Line numbers of the lattices along an axis, coarse to fine, the first and the last line in each.

    The one at index `below` is fine enough to be evaluated whole, and the last one has all lines.
    """
    stride = 1
    while (size - 1) / (2 * stride) >= _MIN_INTERVALS:
        stride *= 2
    strides = [stride * 2**power for power in range(below, 0, -1)]
    while stride >= 1:
        strides.append(stride)
        stride //= 2
    return [np.unique(np.r_[0:size:stride, size - 1]) for stride in strides]


class Step:
    """From a lattice to the next finer one, which adds the points in `new`. Arrays have the shape of the whole grid.

    `probes` are those of `new` that are evaluated in any case, and `margin` is what expected errors are multiplied by.

    Args:
        coordinates: of the rows and of the columns; None for an axis along which nothing is interpolated.
        coarse: the line numbers of the lattice along both axes.
        fine: those of the finer one, which contain the others.
    """

    def __init__(
        self,
        coordinates: tuple[np.ndarray | None, np.ndarray],
        coarse: tuple[np.ndarray, np.ndarray],
        fine: tuple[np.ndarray, np.ndarray],
    ) -> None:
        self._coarse, self._fine = coarse, fine
        self._weights = [
            np.eye(sources.size) if axis is None else _lagrange(axis[sources], axis[targets])
            for axis, sources, targets in zip(coordinates, coarse, fine, strict=True)
        ]
        self._absolute = [np.abs(weights) for weights in self._weights]
        # Both lattices hold the last line of each axis.
        self._shape = (int(fine[0][-1]) + 1, int(fine[1][-1]) + 1)
        reach = [0 if axis is None else 1 for axis in coordinates]
        self._cells = [_cells(*each) for each in zip(self._shape, coarse, fine, reach, strict=True)]
        self._neighbors = [
            [_window(targets, line, line, _AROUND * by) for line in range(size)]
            for size, targets, by in zip(self._shape, fine, reach, strict=True)
        ]
        self.new = np.zeros(self._shape, dtype=bool)
        self.new[np.ix_(*fine)] = True
        self.new[np.ix_(*coarse)] = False
        # Next to an end predictions are one-sided, and worse than elsewhere. A curve has two such points, which are
        # evaluated; a plane of 51×51 has 200.
        on_curves = coordinates[0] is None
        at_edges = self._at_edges()
        self.probes = self._placed(_probes(fine, on_curves=on_curves)).astype(bool) & self.new
        self.probes |= at_edges & on_curves
        self.margin = np.where(at_edges & (not on_curves), _AT_EDGES, 1.0)

    def predict(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values on the finer lattice from those on the coarser one, and whether all that they come from is finite."""
        source = values[np.ix_(*self._coarse)]
        bad = ~np.isfinite(source)
        with np.errstate(all="ignore"):
            found = self._weights[0] @ np.where(bad, 0.0, source) @ self._weights[1].T
        touched = self._absolute[0] @ bad @ self._absolute[1].T
        return self._placed(found), self._placed((touched == 0) & np.isfinite(found)).astype(bool)

    def inherited(self, errors: np.ndarray) -> np.ndarray:
        """The part of the errors of predictions that comes from those of the coarser lattice, which are not negative.

        At most the largest of them, since errors that are large over a whole region are smooth in it.
        """
        source = errors[np.ix_(*self._coarse)]
        if not source.any():
            return np.zeros(self._shape)
        first, second = self._absolute
        across = np.array([source[weights > 0].max(axis=0) for weights in first])
        largest = np.array([across[:, weights > 0].max(axis=1) for weights in second]).T
        with np.errstate(all="ignore"):
            summed = first @ source @ second.T
        # No weight of an infinite error is NaN, and so would be the smaller of both.
        return self._placed(np.fmin(summed, largest))

    def over_cells(self, field: np.ndarray) -> np.ndarray:
        """At each point the largest of its cell of the coarser lattice and of one finer line around it."""
        return _largest(field, *self._cells)

    def around(self, field: np.ndarray) -> np.ndarray:
        """At each point the largest of those a few finer lines away."""
        return _largest(field, *self._neighbors)

    def _at_edges(self) -> np.ndarray:
        """The mask of the new points in the outermost intervals of either axis."""
        rows, columns = (
            np.isin(fine, added[[0, -1]] if (added := np.setdiff1d(fine, coarse)).size else added)
            for fine, coarse in zip(self._fine, self._coarse, strict=True)
        )
        return self._placed(np.logical_or.outer(rows, columns)).astype(bool) & self.new

    def _placed(self, on_fine: np.ndarray) -> np.ndarray:
        placed = np.zeros(self._shape)
        placed[np.ix_(*self._fine)] = on_fine
        return placed


def _lagrange(nodes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Weights of the local polynomials through nodes, shape (points, nodes); both are ascending."""
    weights = np.zeros((points.size, nodes.size))
    for row, (point, after) in enumerate(zip(points, np.searchsorted(nodes, points), strict=True)):
        if nodes[after] == point:
            weights[row, after] = 1.0
            continue
        order = min(max(2 * min(after, nodes.size - after), _ORDER_AT_ENDS), _ORDER, nodes.size)
        low = min(max(after - order // 2, 0), nodes.size - order)
        chosen = nodes[low : low + order]
        for index in range(order):
            others = np.delete(chosen, index)
            weights[row, low + index] = np.prod((point - others) / (chosen[index] - others))
    return weights


def _probes(fine: tuple[np.ndarray, np.ndarray], *, on_curves: bool) -> np.ndarray:
    """A pattern of a lattice that meets new points of all kinds, those between lines and those on one."""
    factors, every = ((2, 3), _PROBES_ON_CURVES) if on_curves else ((4, 7), _PROBES)
    rows, columns = (factor * np.arange(targets.size) for factor, targets in zip(factors, fine, strict=True))
    return (np.add.outer(rows, columns) + int(on_curves)) % every == 0


def _cells(size: int, coarse: np.ndarray, fine: np.ndarray, reach: int) -> list[slice]:
    """For each line those of its cell between coarser lines, and `reach` finer lines more on each side."""
    below = coarse[np.searchsorted(coarse, np.arange(size), "right") - 1]
    above = coarse[np.searchsorted(coarse, np.arange(size), "left")]
    return [_window(fine, low, high, reach) for low, high in zip(below, above, strict=True)]


def _window(targets: np.ndarray, low: int, high: int, reach: int) -> slice:
    """The lines from low to high, and so many of `targets` more on each side."""
    first = max(int(np.searchsorted(targets, low, "right")) - 1 - reach, 0)
    last = min(int(np.searchsorted(targets, high, "left")) + reach, targets.size - 1)
    return slice(int(targets[first]), int(targets[last]) + 1)


def _largest(field: np.ndarray, rows: Sequence[slice], columns: Sequence[slice]) -> np.ndarray:
    across = np.stack([field[window].max(axis=0) for window in rows])
    return np.stack([across[:, window].max(axis=1) for window in columns], axis=1)
