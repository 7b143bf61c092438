"""Half precision held against float32: what is not finite is evaluated again, and the difference is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from slicer_core.evaluate.sums import PointSums
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS

Again = Callable[[Sequence[PointBlock]], dict[str, PointSums]]
"""The sums of points in float32."""

COMPARED_POINTS = 8
"""On how many points of a split the two precisions are compared."""
_SEED = 32


@dataclass(frozen=True, kw_only=True)
class PrecisionReport:
    """How far a reduced precision is from float32, as losses of whole points.

    `points`: on how many the two were compared. `largest_difference`: |L - L₃₂|/max(|L₃₂|, |L₃₂(center)|), the largest
    of them; None where float32 has no finite value either. `center_float32`: the loss at the center in float32.
    `again`: how many points hold float32's value, since they were not finite, or the center was not.
    """

    points: int
    largest_difference: float | None
    center_float32: float
    again: int

    @classmethod
    def joined(cls, reports: Sequence[PrecisionReport], *, center_float32: float) -> PrecisionReport:
        """One report from those of some points each, which may have been evaluated on other samples."""
        largest = [report.largest_difference for report in reports if report.largest_difference is not None]
        return cls(
            points=sum(report.points for report in reports),
            largest_difference=max(largest, default=None),
            center_float32=center_float32,
            again=sum(report.again for report in reports),
        )

    def to_dict(self) -> dict[str, float | int | None]:
        """As JSON values."""
        center = self.center_float32 if np.isfinite(self.center_float32) else None
        return {
            "compared_points": self.points,
            "largest_relative_difference": self.largest_difference,
            "center_loss_float32": center,
            "points_again_in_float32": self.again,
        }


def held_against_float32(
    sums: dict[str, PointSums], blocks: Sequence[PointBlock], again: Again, *, compared: int = COMPARED_POINTS
) -> tuple[dict[str, PointSums], PrecisionReport]:
    """The sums with non-finite points replaced by float32's, and the report on `compared` seeded points.

    Where the center itself is not finite, no difference to it is, so then all points are float32's.
    """
    losses = sums[LOSS].values
    lost = np.flatnonzero(~np.isfinite(losses))
    center_is_lost = is_center_lost(sums) and not is_center_lost(again(()))
    if center_is_lost:
        lost = np.arange(len(losses))
    generator = torch.Generator().manual_seed(_SEED)
    order = torch.randperm(len(losses), generator=generator).numpy()
    seen = np.sort(order[np.isfinite(losses[order])][:compared])
    where = np.union1d(lost, seen)
    exact = again(chosen_points(blocks, where))
    center = exact[LOSS].center_value
    expected = exact[LOSS].values[np.searchsorted(where, seen)]
    with np.errstate(all="ignore"):
        differences = np.abs(losses[seen] - expected) / np.maximum(np.abs(expected), abs(center))
    finite = differences[np.isfinite(differences)]
    report = PrecisionReport(
        points=len(seen),
        largest_difference=float(finite.max()) if len(finite) else None,
        center_float32=center,
        again=len(lost),
    )
    if center_is_lost:
        sums = exact
    elif len(lost):
        taken = np.searchsorted(where, lost)
        sums = {name: _replaced(values, exact[name], lost, taken) for name, values in sums.items()}
    return sums, report


def is_center_lost(sums: dict[str, PointSums]) -> bool:
    """Whether the loss at the center is not finite."""
    return not np.isfinite(sums[LOSS].center_value)


def chosen_points(blocks: Sequence[PointBlock], where: np.ndarray) -> list[PointBlock]:
    """The blocks with only the points at the ascending indices `where` of all of them; empty blocks are left out."""
    chosen, first = [], 0
    for block in blocks:
        last = first + len(block.coefficients)
        inside = where[(where >= first) & (where < last)] - first
        if len(inside):
            chosen.append(replace(block, coefficients=block.coefficients[inside]))
        first = last
    return chosen


def _replaced(sums: PointSums, exact: PointSums, where: np.ndarray, taken: np.ndarray) -> PointSums:
    """Points in float32; their covariance with the center is that with float32's center, which rounding alone parts."""
    arrays = {}
    for name in ("total", "squares", "with_counts", "with_center"):
        arrays[name] = getattr(sums, name).copy()
        arrays[name][where] = getattr(exact, name)[taken]
    groups = None
    if sums.groups is not None and exact.groups is not None:
        groups = sums.groups.with_points(where, exact.groups, taken)
    return replace(sums, **arrays, groups=groups)
