"""Sums over random groups of samples, from which the error of any combination of points follows.

The sums that a point has alone (see `sums`) say how it differs from the center; what two other points have in common
takes sums of both together, and there are too many pairs to keep. The variation between groups of samples estimates it
for all: Wolter, "Introduction to variance estimation", 2nd edition, chapter 2, the random group method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from slicer_core.philox import philox4x32

NUM_GROUPS = 32
"""A power of two. A standard error from so many is itself off by an eighth, one standard deviation."""
_KEY = (32, 0)


@dataclass(frozen=True, kw_only=True)
class GroupSums:
    """Σs of each group at each point, shape (points, groups), float64, and at the center, (groups,).

    `counts` Σc and `sizes`, the number of entries, of each group, (groups,).
    """

    points: np.ndarray
    center: np.ndarray
    counts: np.ndarray
    sizes: np.ndarray

    def differences(self, means: np.ndarray, center_mean: float) -> np.ndarray:
        """Σ(r(p) - r(0)) of each group, shape (points, groups), with r = s - L·c, scaled for what follows.

        For any weights w of the points, the mean of Σ(Σ w·row)² over all ways to deal the entries to the groups is
        Σ(Σ w·(r(p) - r(0)))² over the entries. NaN where all entries are in one group.
        """
        num_entries = float(self.sizes.sum())
        pairs = float((self.sizes * (self.sizes - 1.0)).sum())
        # Points that overflow are results like others, no warnings.
        with np.errstate(all="ignore"):
            residuals = self.points - means[:, None] * self.counts - (self.center - center_mean * self.counts)
            # Residuals add up to zero, so two of a group are the more against each other, the fewer there are.
            return residuals / np.sqrt(1 - np.float64(pairs) / (num_entries * (num_entries - 1)))

    def with_points(self, where: np.ndarray, other: GroupSums, taken: np.ndarray) -> GroupSums:
        """The same with the points at `where` from `taken` of another."""
        points = self.points.copy()
        points[where] = other.points[taken]
        return replace(self, points=points)

    def plus(self, other: GroupSums) -> GroupSums:
        """See `PointSums.added`."""
        return GroupSums(
            points=self.points + other.points,
            center=self.center + other.center,
            counts=self.counts + other.counts,
            sizes=self.sizes + other.sizes,
        )

    @classmethod
    def joined(cls, parts: Sequence[tuple[GroupSums, np.ndarray]]) -> GroupSums:
        """See `PointSums.joined`."""
        points = np.empty((sum(len(where) for _, where in parts), NUM_GROUPS))
        for groups, where in parts:
            points[where] = groups.points
        return replace(parts[0][0], points=points)


def places(start: int, count: int) -> np.ndarray:
    """Where the entries of each group lie among those from `start` on, shape (groups, the most of a group).

    `count` stands for none. The group of an entry depends on its number in the split alone, so that batches may be cut
    anywhere.
    """
    counter = np.zeros((4, count), dtype=np.uint64)
    counter[0] = np.arange(start, start + count, dtype=np.uint64)
    groups = (philox4x32(counter, _KEY)[0] % np.uint64(NUM_GROUPS)).astype(np.int64)
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups, minlength=NUM_GROUPS)
    table = np.full((NUM_GROUPS, int(sizes.max(initial=1))), count, dtype=np.int64)
    table[groups[order], np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)] = order
    return table
