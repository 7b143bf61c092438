"""The loss of a slice as measures see it: axes ascending, in float64, with the errors that differences have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from slicer_core.slices import Measure, Slice

LOSS = "loss"
UNKNOWN = "unknown"
EXACT = "exact"
RANDOM_GROUPS = "random groups"
UPPER_BOUND = "upper bound"
# Sums of several points that are taken at once.
_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points along one axis through the center, or one curve of a family.

    `coordinates` (n,) strictly ascend; `values` (n,); `positions` (n,) in the flattened field; `name` is the axis's or
    the curve's, `number` its place among them; `norm` is that of the direction, None where it is not known.
    """

    name: str
    number: int
    coordinates: np.ndarray
    values: np.ndarray
    positions: np.ndarray
    norm: float | None


@dataclass(frozen=True, kw_only=True)
class LossField:
    """The loss on one split at the points of a slice.

    `values` and `difference_stderr` have the slice's shape, float64, with every axis put in ascending order; the
    latter, the paired standard error of L - L(center), is None where it is not known. `coordinates`: for each axis.
    `grouped`, shape (points, groups), is `PointSums.grouped_differences` in the order of the flattened values, where
    the slice has just been evaluated.
    """

    data: Slice
    split: str
    coordinates: tuple[np.ndarray, ...]
    values: np.ndarray
    difference_stderr: np.ndarray | None
    grouped: np.ndarray | None = None

    @classmethod
    def of(cls, data: Slice, split: str, grouped: np.ndarray | None = None) -> LossField:
        """The field of one split of the slice; `grouped` with a row for each point, in the slice's order.

        Raises:
            KeyError: the slice has no loss on the split.
        """
        orders = [np.argsort(axis.values, kind="stable") for axis in data.axes]

        rows = np.ix_(*([np.arange(len(data.curves)), *orders] if data.geometry == "curves" else orders))

        def sorted_values(role: str) -> np.ndarray | None:
            for array in data.arrays:
                if (array.name, array.split, array.role) == (LOSS, split, role):
                    return array.values[rows].astype(np.float64)
            return None

        values = sorted_values("value")
        if values is None:
            raise KeyError(f"the slice has no {LOSS} on split {split!r}")
        if grouped is not None:
            grouped = grouped.reshape(*values.shape, -1)[rows].reshape(values.size, -1)
        return cls(
            data=data,
            split=split,
            coordinates=tuple(
                axis.values[order].astype(np.float64) for axis, order in zip(data.axes, orders, strict=True)
            ),
            values=values,
            difference_stderr=sorted_values("difference_stderr"),
            grouped=grouped,
        )

    @property
    def center_loss(self) -> float | None:
        """The loss at the center, None where the slice does not say."""
        return None if self.data.center is None else self.data.center.loss.get(self.split)

    @property
    def is_spaced(self) -> bool:
        """Whether the coordinates along every axis differ, as differences between neighbors need."""
        return all(bool((np.diff(values) > 0).all()) for values in self.coordinates)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The curve, each of a family, or of a grid those through the center; none of them where points coincide.

        A grid has the line along an axis where 0 is a coordinate of the other.
        """
        if not self.is_spaced:
            return ()
        return tuple(self._curves() if self.data.geometry != "grid" else self._axes_of_grid())

    def by_line(
        self, name: str, found: Sequence[tuple[Line, Measure]], choose: Callable[..., Any]
    ) -> dict[str, Measure]:
        """What was found along lines, by the names that it has in a slice.

        Along the axes of a grid it is `name_0` and `name_1`, with the axis in `details`. Of a family `choose` (min or
        max) of the values is the slice's, with those of all curves in `details`.
        """
        if self.data.geometry == "grid":
            return {
                f"{name}_{line.number}": replace(entry, details={"axis": line.name, **entry.details})
                for line, entry in found
            }
        if not found:
            return {}
        known = [pair for pair in found if not math.isnan(pair[1].value)]
        if self.data.geometry == "curve" or not known:
            return {name: found[0][1]}
        line, chosen = choose(known, key=lambda pair: pair[1].value)
        curves = {line.name: entry.value for line, entry in found}
        return {name: replace(chosen, details={**chosen.details, "curve": line.name, "curves": curves})}

    def difference_error(self, positions: np.ndarray, weights: np.ndarray) -> tuple[float | None, str]:
        """The error of Σ w·(L - L(center)), and what kind of error it is; arrays of shape (k,)."""
        if self.difference_stderr is None:
            return None, UNKNOWN
        (error,), kind = self.difference_errors(positions[None], weights[None])
        return (float(error), kind) if math.isfinite(error) else (None, UNKNOWN)

    def difference_errors(self, positions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, str]:
        """As `difference_error` of many sums at once: arrays of shape (m, k) give (m,); zeros where it is not known.

        Of one point it is the point's own. Of several it is what the variation between groups of samples says, where
        those are known, and never more than Σ|w|·SE, which bounds it whatever the points have in common.
        """
        if self.difference_stderr is None:
            return np.zeros(len(weights)), UNKNOWN
        errors = self.difference_stderr.reshape(-1)[positions]
        # A point that is not used may well have no error.
        bounds = np.where(weights != 0, np.abs(weights) * errors, 0.0).sum(axis=-1)
        several = np.count_nonzero(weights, axis=-1) > 1
        if not several.any():
            return bounds, EXACT
        if self.grouped is None:
            return bounds, UPPER_BOUND
        for start in range(0, len(weights), _AT_ONCE):
            some = np.flatnonzero(several[start : start + _AT_ONCE]) + start
            own = weights[some][:, :, None]
            with np.errstate(all="ignore"):
                sums = np.where(own != 0, own * self.grouped[positions[some]], 0.0).sum(axis=1)
                # Groups say nothing where all samples are in one of them.
                bounds[some] = np.fmin(bounds[some], np.sqrt((sums**2).sum(axis=-1)))
        return bounds, RANDOM_GROUPS

    def place(self, position: int) -> list[Any]:
        """The coordinates of a position in the flattened field, after the curve's name in a family."""
        index = np.unravel_index(position, self.values.shape)
        named: list[Any] = [self.data.curves[index[0]].name] if self.data.geometry == "curves" else []
        return named + [
            float(values[at]) for values, at in zip(self.coordinates, index[-len(self.coordinates) :], strict=True)
        ]

    def _curves(self) -> Iterator[Line]:
        (coordinates,) = self.coordinates
        rows = self.values.reshape(-1, coordinates.size)
        names = [curve.name for curve in self.data.curves] or [self.data.axes[0].name]
        norms = [direction.norm for direction in self.data.directions]
        for index, (name, values) in enumerate(zip(names, rows, strict=True)):
            yield Line(
                name=name,
                number=index,
                coordinates=coordinates,
                values=values,
                positions=index * coordinates.size + np.arange(coordinates.size),
                # One direction may stand for all: that of single parameters has norm 1.
                norm=norms[index] if len(norms) == len(names) else norms[0] if len(norms) == 1 else None,
            )

    def _axes_of_grid(self) -> Iterator[Line]:
        positions = np.arange(self.values.size).reshape(self.values.shape)
        norms = [direction.norm for direction in self.data.directions]
        for axis in (0, 1):
            (center,) = np.nonzero(self.coordinates[1 - axis] == 0)
            if center.size == 0:
                continue
            yield Line(
                name=self.data.axes[axis].name,
                number=axis,
                coordinates=self.coordinates[axis],
                values=self.values.take(center[0], axis=1 - axis),
                positions=positions.take(center[0], axis=1 - axis),
                norm=norms[axis] if len(norms) == 2 else None,
            )
