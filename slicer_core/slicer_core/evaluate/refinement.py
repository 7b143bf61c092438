"""A grid refined where it bends: which points have to be evaluated, and what the others are. Numpy only.

The lines of the slice's own axes form lattices, each with every other line of the next finer one. A finer lattice is
predicted from the one before by local polynomials; where a point was evaluated, its surplus tells how good the
prediction was (Harten, "Multiresolution algorithms for the numerical solution of hyperbolic conservation laws", 1995).
From the surpluses of two levels follows the error to be expected on the third, which is evaluated only where that is
above the tolerance. So smooth parts stay coarse, and a ridge is followed down to the grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from slicer_core.evaluate.lattice import Step, lines

_WHOLE = 2
"""The level that is evaluated whole; the surpluses of those below it cost nothing."""
_SAFETY = 2.0
"""Expected errors are multiplied by it."""
_FASTEST_DECAY = 1 / 6
"""Of surpluses from level to level. Smooth functions reach 1/64, which is not relied on: a kink has 1/2."""
_FLOOR = 0.1
"""Of the tolerance: no error is expected to be less, so that what is far below it is not told apart."""
_SPARE = 0.2
"""Of the tolerance, for what later levels add to the error of the first prediction."""
_UNSEEN = 1.25
"""Where evaluated points exceed what was expected of them, the many more that were not evaluated are taken to exceed it
by so many times as much."""
_WITHIN = 2.0
"""Of the tolerance: predictions expected to be better than that tell how far expectations can be trusted."""


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """What is known of a slice in which some points are evaluated. Arrays have the shape of the grid.

    `wanted` are the points to evaluate next; while there are some, the other arrays are not complete. `values` are
    evaluated or interpolated, NaN where neither is possible. `errors` are the estimated largest absolute errors of
    the interpolation, zero at evaluated points, and `noise` the standard errors that values have from their own
    sampling or from that of those they are interpolated from. `calibration` is 1, or the factor by which the worst
    surplus of an evaluated point exceeded what had been expected there, with a margin; it is in `errors` already.
    """

    wanted: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    noise: np.ndarray
    calibration: float


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where the points of a slice lie: coordinates of its rows and columns.

    `rows` None: they are curves of their own, between which nothing is interpolated. A single curve is one row.
    """

    shape: tuple[int, int]
    rows: np.ndarray | None
    columns: np.ndarray

    @classmethod
    def of(cls, axes: Sequence[np.ndarray], num_curves: int = 1) -> Grid:
        """From the coordinates of one or two axes; with one axis, of so many curves."""
        if len(axes) == 2:
            return cls(shape=(axes[0].size, axes[1].size), rows=axes[0], columns=axes[1])
        return cls(shape=(num_curves, axes[0].size), rows=None, columns=axes[0])

    def first_points(self) -> np.ndarray:
        """The mask of what is always evaluated: a coarse lattice, and the cell of the center with a ring around it."""
        mask = np.zeros(self.shape, dtype=bool)
        mask[np.ix_(*self._levels[_WHOLE])] = True
        return mask | self.center_points()

    def center_points(self) -> np.ndarray:
        """The mask of the center's cell and a ring around it; none where the center is not on the grid."""
        mask = np.zeros(self.shape, dtype=bool)
        near = [_near_zero(self.rows, self.shape[0]), _near_zero(self.columns, self.shape[1])]
        if all(indices.size for indices in near):
            mask[np.ix_(*near)] = True
        return mask

    def refine(
        self, values: np.ndarray, evaluated: np.ndarray, *, tolerance: float | None, noise: np.ndarray | None = None
    ) -> Refinement:
        """What is known from the evaluated points, and what else is wanted.

        Args:
            values: shape of the grid; read only where `evaluated`.
            evaluated: mask of the same shape, which covers at least `first_points`.
            tolerance: the absolute error that an interpolated value may have; None to want nothing more, whatever
                the errors are.
            noise: standard errors of the values against the function that is interpolated, None for exact ones.
        """
        state = _State(
            np.where(evaluated, values, 0.0),
            evaluated,
            np.zeros(self.shape) if noise is None else np.where(evaluated, noise, 0.0),
            tolerance,
        )
        last = len(self._steps) - 1
        for number, step in enumerate(self._steps):
            wanted = state.advance(step, spare=_SPARE * (last - number) / max(1, last - _WHOLE))
            if wanted.any():
                break
        else:
            wanted = np.zeros(self.shape, dtype=bool)
        return Refinement(
            wanted=wanted,
            values=state.values,
            errors=state.calibration * state.errors,
            noise=state.noise,
            calibration=state.calibration,
        )

    @cached_property
    def _steps(self) -> list[Step]:
        return [Step((self.rows, self.columns), *lattices) for lattices in itertools.pairwise(self._levels)]

    @cached_property
    def _levels(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Lines of both axes, coarse to fine; an axis of few points is there before the other."""
        columns = lines(self.shape[1], below=_WHOLE)
        rows = lines(self.shape[0], below=_WHOLE) if self.rows is not None else [np.arange(self.shape[0])]
        length = max(len(rows), len(columns))
        return list(zip(*(found + [found[-1]] * (length - len(found)) for found in (rows, columns)), strict=True))


class _State:
    """Values, errors and noise as far as the lattices have been filled, see `Refinement`."""

    def __init__(self, values: np.ndarray, evaluated: np.ndarray, noise: np.ndarray, tolerance: float | None) -> None:
        self.values, self.noise = values, noise
        self.errors = np.zeros(values.shape)
        self.calibration = 1.0
        self._evaluated = evaluated
        self._tolerance = tolerance
        self._before: list[np.ndarray] = []

    def advance(self, step: Step, *, spare: float) -> np.ndarray:
        """Fills the step's finer lattice, or returns the mask of what has to be evaluated for that.

        `spare`: the part of the tolerance that is to be left.
        """
        have, unknown = step.new & self._evaluated, step.new & ~self._evaluated
        predicted, usable = step.predict(self.values)
        inherited, inherited_noise = step.inherited(self.errors), step.inherited(self.noise)
        surplus = np.zeros(self.values.shape)
        with np.errstate(all="ignore"):
            surplus[have] = np.maximum(
                np.abs(self.values - predicted) - 2 * np.hypot(self.noise, inherited_noise), 0.0
            )[have]
        surplus[have & ~(usable & np.isfinite(self.values))] = np.inf
        foreseen = step.margin * self._foreseen()
        self._calibrate(surplus, foreseen + inherited, have)
        # An evaluated point beside tells more than what the coarser levels let expect.
        expected = np.maximum(foreseen, step.around(surplus))
        bound = inherited + expected
        wanted = np.zeros(unknown.shape, dtype=bool)
        if self._tolerance is not None:
            good = usable & (bound <= self._tolerance * (1 - spare)) & ~step.probes
            wanted = unknown & ~good
        self.values[unknown] = np.where(usable, predicted, np.nan)[unknown]
        self.errors[unknown] = bound[unknown]
        self.noise[unknown] = inherited_noise[unknown]
        # An interpolated point hides its surplus; what it may be goes on, less what a level takes off.
        surplus[unknown] = np.where(expected <= self._floor, 0.0, expected / (2 * _SAFETY))[unknown]
        self._before = [*self._before[-1:], step.over_cells(surplus)]
        return wanted

    @property
    def _floor(self) -> float:
        return 0.0 if self._tolerance is None else _FLOOR * self._tolerance

    def _foreseen(self) -> np.ndarray:
        """The error to be expected on a level from the surpluses of the two before it."""
        if len(self._before) < 2:
            return np.full(self.values.shape, np.inf)
        earlier, last = self._before
        with np.errstate(all="ignore"):
            decay = np.clip(last / earlier, _FASTEST_DECAY, 1.0)
            # Nothing is known of the decay of no surplus, or of an infinite one.
            expected = _SAFETY * np.where(np.isnan(decay), 1.0, decay) * last
        return np.maximum(expected, self._floor)

    def _calibrate(self, surplus: np.ndarray, bound: np.ndarray, have: np.ndarray) -> None:
        if self._tolerance is None:
            return
        telling = have & np.isfinite(surplus) & (bound <= _WITHIN * self._tolerance) & (bound > 0)
        if telling.any() and (exceeded := float(np.max(surplus[telling] / bound[telling]))) > 1:
            self.calibration = max(self.calibration, _UNSEEN * exceeded)


def _near_zero(values: np.ndarray | None, size: int) -> np.ndarray:
    """The lines of the cell around zero and one more on each side; none where zero is out of range."""
    if values is None:
        return np.arange(size)
    if not values[0] <= 0 <= values[-1]:
        return np.arange(0)
    low, high = np.searchsorted(values, 0, "right") - 1, np.searchsorted(values, 0, "left")
    if low == high:
        low, high = low - 1, high + 1
    return np.arange(max(low - 1, 0), min(high + 2, size))
