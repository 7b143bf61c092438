"""The float64 sums that a point leaves behind, and the value and standard errors that follow from them.

Sample i gives s_i and c_i (see `subject.losses`). With n entries that count, L = Σs/Σc and
SE = sqrt(n/(n-1)·Σ(s_i - L·c_i)²)/Σc, the linearized standard error of a ratio. A difference to the center uses the
paired residuals r_i(p) - r_i(0), r_i = s_i - L·c_i, whose squares need Σs·s₀ beside the point's own sums. Samples of
another class, or whose targets are all ignored, have s and c of 0 and tell nothing: they are not in n.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from slicer_core.errors import StoreError
from slicer_core.evaluate.groups import NUM_GROUPS, GroupSums

_FIELDS = ("total", "squares", "with_counts", "with_center")
_SCALARS = (
    "center_total",
    "center_squares",
    "center_with_counts",
    "count",
    "count_squares",
    "num_entries",
    "counted",
)
SUMS_BYTES = 8 * len(_FIELDS)
"""What is kept of a point, without its groups."""
GROUPS_BYTES = 8 * NUM_GROUPS
"""What its groups take besides."""


@dataclass(frozen=True, kw_only=True)
class PointSums:
    """Sums over the entries (samples, or batches where only batch means are to be had) of one split.

    Arrays of shape (points,), float64: `total` Σs, `squares` Σs², `with_counts` Σsc, `with_center` Σs·s₀. The
    center's own Σs, Σs² and Σsc are scalars, as are Σc, Σc² and the number of entries, of which `counted` have an s or
    a c. `is_total`: the user's loss is Σs and not Σs/Σc. `groups` are there for a loss whose points
    were all evaluated on the same entries.
    """

    total: np.ndarray
    squares: np.ndarray
    with_counts: np.ndarray
    with_center: np.ndarray
    center_total: float
    center_squares: float
    center_with_counts: float
    count: float
    count_squares: float
    num_entries: int
    counted: int
    is_total: bool = False
    entries: str = "samples"
    groups: GroupSums | None = None

    @property
    def values(self) -> np.ndarray:
        """L at each point, shape (points,)."""
        return self.total.copy() if self.is_total else self._mean

    @property
    def center_value(self) -> float:
        """L at the center."""
        return self.center_total if self.is_total else self._center_mean

    @property
    def stderr(self) -> np.ndarray:
        """The standard error of L at each point, shape (points,); NaN where only one entry counts."""
        mean = self._mean
        with np.errstate(all="ignore"):
            squared = self.squares - 2 * mean * self.with_counts + mean**2 * self.count_squares
        return self._standard_error(squared)

    @property
    def difference_stderr(self) -> np.ndarray:
        """The standard error of L - L(center) at each point, from paired residuals, shape (points,)."""
        mean, center_mean = self._mean, np.float64(self._center_mean)
        # Points that overflow are results like others, no warnings.
        with np.errstate(all="ignore"):
            squared = self.squares - 2 * mean * self.with_counts + mean**2 * self.count_squares
            center_squared = (
                self.center_squares - 2 * center_mean * self.center_with_counts + center_mean**2 * self.count_squares
            )
            crossed = (
                self.with_center
                - mean * self.center_with_counts
                - center_mean * self.with_counts
                + mean * center_mean * self.count_squares
            )
            return self._standard_error(squared + center_squared - 2 * crossed)

    @property
    def grouped_differences(self) -> np.ndarray | None:
        """What errors of several points together follow from, shape (points, groups).

        The standard error of Σ w·(L - L(center)) is the norm of Σ w·row, see `GroupSums.differences`.
        """
        if self.groups is None or self.counted < 2:
            return None
        found = self.groups.differences(self._mean, self._center_mean)
        with np.errstate(all="ignore"):
            scale = np.sqrt(self.counted / (self.counted - 1))
            return found * scale if self.is_total else found * (scale / abs(np.float64(self.count)))

    @classmethod
    def joined(cls, parts: Sequence[tuple[PointSums, np.ndarray]]) -> PointSums:
        """The sums of all points from those of some each, on the same data; the arrays hold the points' indices."""
        num_points = sum(len(where) for _, where in parts)
        arrays = {name: np.empty(num_points) for name in _FIELDS}
        for sums, where in parts:
            for name, array in arrays.items():
                array[where] = getattr(sums, name)
        # Tiles of an older release have none.
        grouped = [(sums.groups, where) for sums, where in parts if sums.groups is not None]
        groups = GroupSums.joined(grouped) if len(grouped) == len(parts) else None
        return replace(parts[0][0], **arrays, groups=groups)

    @classmethod
    def added(cls, parts: Sequence[PointSums]) -> PointSums:
        """The sums over all data from those over a part of it each, at the same points; added up in that order."""
        whole = parts[0]
        for part in parts[1:]:
            groups = None if whole.groups is None or part.groups is None else whole.groups.plus(part.groups)
            added = {name: getattr(whole, name) + getattr(part, name) for name in (*_FIELDS, *_SCALARS)}
            entries = "samples" if whole.entries == part.entries == "samples" else "batches"
            whole = replace(whole, **added, entries=entries, groups=groups)
        return whole

    def at(self, where: np.ndarray) -> PointSums:
        """The sums of the points of those indices, in their order."""
        groups = None if self.groups is None else replace(self.groups, points=self.groups.points[where])
        return replace(self, **{name: getattr(self, name)[where] for name in _FIELDS}, groups=groups)

    def to_bytes(self) -> bytes:
        """A line of JSON, then the arrays; `from_bytes` reads it."""
        head = {
            "points": len(self.total),
            "center": [self.center_total.hex(), self.center_squares.hex(), self.center_with_counts.hex()],
            "counts": [self.count.hex(), self.count_squares.hex()],
            "num_entries": self.num_entries,
            "num_counted": self.counted,
            "is_total": self.is_total,
            "entries": self.entries,
        }
        arrays = b"".join(getattr(self, name).astype("<f8").tobytes() for name in _FIELDS)
        if (groups := self.groups) is not None:
            head["groups"] = len(groups.center)
            each = (groups.center, groups.counts, groups.sizes, groups.points)
            arrays += b"".join(array.astype("<f8").tobytes() for array in each)
        return json.dumps(head).encode() + b"\n" + arrays

    @classmethod
    def from_bytes(cls, data: bytes) -> PointSums:
        """The sums that `to_bytes` wrote.

        Raises:
            StoreError: the bytes are not of that form.
        """
        try:
            line, _, body = data.partition(b"\n")
            head = json.loads(line)
            values, num_points = np.frombuffer(body, dtype="<f8"), int(head["points"])
            arrays = values[: len(_FIELDS) * num_points].reshape(len(_FIELDS), num_points)
            center = [float.fromhex(text) for text in head["center"]]
            counts = [float.fromhex(text) for text in head["counts"]]
            return cls(
                **dict(zip(_FIELDS, arrays, strict=True)),
                center_total=center[0],
                center_squares=center[1],
                center_with_counts=center[2],
                count=counts[0],
                count_squares=counts[1],
                num_entries=int(head["num_entries"]),
                counted=int(head.get("num_counted", head["num_entries"])),
                is_total=bool(head["is_total"]),
                entries=str(head["entries"]),
                groups=_groups_from(values[arrays.size :], num_points, int(head.get("groups", 0))),
            )
        except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
            raise StoreError(f"stored sums can't be read: {error}") from error

    @property
    def _mean(self) -> np.ndarray:
        """Σs/Σc; NaN where no target counts, as in torch."""
        with np.errstate(all="ignore"):
            return self.total / np.float64(self.count)

    @property
    def _center_mean(self) -> float:
        with np.errstate(all="ignore"):
            return float(np.float64(self.center_total) / np.float64(self.count))

    def _standard_error(self, squared: np.ndarray) -> np.ndarray:
        if self.counted < 2:
            return np.full_like(squared, np.nan)
        # Rounding may leave a sum of squares that is zero a little below zero; NaN stays NaN.
        with np.errstate(all="ignore"):
            positive = np.where(squared < 0, 0.0, squared)
            total_error = np.sqrt(positive * self.counted / (self.counted - 1))
            return total_error if self.is_total else total_error / abs(np.float64(self.count))


def _groups_from(values: np.ndarray, num_points: int, num_groups: int) -> GroupSums | None:
    """The groups behind the other arrays; those of another number are left alone.

    Raises:
        ValueError: there are more or fewer values.
    """
    rows = values.reshape(num_points + 3, num_groups) if num_groups else values.reshape(0)
    if num_groups != NUM_GROUPS:
        return None
    return GroupSums(center=rows[0], counts=rows[1], sizes=rows[2], points=rows[3:])
