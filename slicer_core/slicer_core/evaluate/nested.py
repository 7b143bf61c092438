"""The sums of a slice of which only some points were evaluated, and those on as many samples as each needed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from slicer_core.errors import StoreError
from slicer_core.evaluate.sums import PointSums


@dataclass(frozen=True, kw_only=True)
class SumsPart:
    """The sums of some points over the same samples. `points`: their positions in the slice, ascending, int64.

    Of the standard error of the sampling, at least `least` is counted, and `factor` times as much as the samples say:
    what they can't know, because losses that are rare and large may all be in the rest of the split.
    """

    points: np.ndarray
    sums: PointSums
    factor: float = 1.0
    least: float = 0.0

    def difference(self, whole: PointSums) -> np.ndarray:
        """L - L(center) of each point as these samples have it; where L is a total, as of all samples."""
        with np.errstate(all="ignore"):
            return self.scale(whole) * (self.sums.values - self.sums.center_value)

    def difference_error(self, whole: PointSums) -> np.ndarray:
        """The paired standard error of that against the whole split, with the finite-population factor."""
        share = self.share(whole)
        if share == 1:
            return np.zeros_like(self.sums.total)
        return self.scale(whole) * self.sums.difference_stderr * np.sqrt(1 - share)

    def share(self, whole: PointSums) -> float:
        """How much these samples are of all that count."""
        return self.sums.counted / whole.counted if whole.counted else np.nan

    def scale(self, whole: PointSums) -> float:
        """From these samples to all, where L is a total."""
        return whole.count / self.sums.count if whole.is_total else 1.0


@dataclass(frozen=True, kw_only=True)
class NestedSums:
    """The sums of the evaluated among `num_points` points, in parts whose samples are each contained in the next's.

    The last part is over the whole split and may have no points. In the others L is the part's difference to its own
    center, added to the center's loss on the whole split, so that what the samples have in common cancels out.
    Arrays have the shape (num_points,), NaN where a point was not evaluated.
    """

    num_points: int
    parts: tuple[SumsPart, ...]

    @property
    def center_value(self) -> float:
        """L at the center, on the whole split."""
        return self._whole.center_value

    @property
    def entries(self) -> str:
        """See `PointSums`."""
        return self._whole.entries

    @cached_property
    def num_entries(self) -> np.ndarray:
        """How many entries each point was evaluated on, int64, 0 where it was not."""
        found = np.zeros(self.num_points, dtype=np.int64)
        for part in self.parts:
            found[part.points] = part.sums.num_entries
        return found

    @property
    def evaluated(self) -> np.ndarray:
        """The mask of the points that were evaluated."""
        return self.num_entries > 0

    @cached_property
    def values(self) -> np.ndarray:
        """L at each point."""
        found = np.full(self.num_points, np.nan)
        for part in self.parts:
            if part.sums is self._whole:
                found[part.points] = part.sums.values
            else:
                found[part.points] = part.difference(self._whole) + self.center_value
        return found

    @cached_property
    def sampling_error(self) -> np.ndarray:
        """The standard error of L against its value on the whole split: paired, with the finite-population factor."""
        found = np.full(self.num_points, np.nan)
        for part in self.parts:
            if part.sums is self._whole:
                found[part.points] = 0.0
            else:
                found[part.points] = part.factor * np.maximum(part.difference_error(self._whole), part.least)
        return found

    @property
    def stderr(self) -> np.ndarray:
        """The standard error of L as an estimate of its expectation, that of the sampling included."""
        found = np.full(self.num_points, np.nan)
        for part in self.parts:
            share = part.share(self._whole)
            found[part.points] = part.scale(self._whole) * part.sums.stderr * np.sqrt(share)
        with np.errstate(all="ignore"):
            return np.hypot(found, self.sampling_error)

    @property
    def difference_stderr(self) -> np.ndarray:
        """The paired standard error of L - L(center) as an estimate of its expectation, that of the sampling included.

        Each point's difference is taken on the samples that it was evaluated on, the center's loss on the same ones.
        """
        found = np.full(self.num_points, np.nan)
        for part in self.parts:
            share = part.share(self._whole)
            found[part.points] = part.scale(self._whole) * part.sums.difference_stderr * np.sqrt(share)
        with np.errstate(all="ignore"):
            return np.hypot(found, self.sampling_error)

    def to_bytes(self) -> bytes:
        """A line of JSON, then for each part its points and its sums; `stored_sums` reads it."""
        bodies = [part.sums.to_bytes() for part in self.parts]
        head = {
            "num_points": self.num_points,
            "parts": [
                [part.points.size, len(body), float(part.factor).hex(), float(part.least).hex()]
                for part, body in zip(self.parts, bodies, strict=True)
            ],
        }
        blocks = [part.points.astype("<i8").tobytes() + body for part, body in zip(self.parts, bodies, strict=True)]
        return json.dumps(head).encode() + b"\n" + b"".join(blocks)

    @property
    def _whole(self) -> PointSums:
        return self.parts[-1].sums


def stored_sums(data: bytes) -> PointSums | NestedSums:
    """The sums that `to_bytes` of either wrote.

    Raises:
        StoreError: the bytes are not of that form.
    """
    line, _, body = data.partition(b"\n")
    try:
        head = json.loads(line)
        if "parts" not in head:
            return PointSums.from_bytes(data)
        parts, start = [], 0
        for count, size, *trust in head["parts"]:
            middle = start + 8 * count
            points = np.frombuffer(body[start:middle], dtype="<i8")
            factor, least = (float.fromhex(text) for text in trust)
            sums = PointSums.from_bytes(body[middle : middle + size])
            parts.append(SumsPart(points=points, sums=sums, factor=factor, least=least))
            if not points.size == parts[-1].sums.total.size == count:
                raise ValueError(f"a part of {count} points has {points.size} positions")
            start = middle + size
        if start != len(body) or not parts:
            raise ValueError(f"{len(body)} bytes of parts, expected {start}")
        return NestedSums(num_points=int(head["num_points"]), parts=tuple(parts))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise StoreError(f"stored sums can't be read: {error}") from error
