"""Points evaluated on more and more of a split's samples, until the difference to the center is known well enough."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from slicer_core.evaluate.evaluator import Evaluation, evaluate
from slicer_core.evaluate.nested import NestedSums, SumsPart
from slicer_core.evaluate.precision import PrecisionReport
from slicer_core.evaluate.settings import EvaluationSettings
from slicer_core.evaluate.sums import PointSums
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS, ModelWrapper, SplitData, stratified_order, subset

_POINT_FIELDS = ("total", "squares", "with_counts", "with_center")
_CENTER_FIELDS = (
    *("center_total", "center_squares", "center_with_counts"),
    *("count", "count_squares", "num_entries", "counted"),
)
_SEED = 0
_DOUBLINGS = 4
_FEWEST = 100
"""Samples of the smallest part: of fewer, a few large losses may all be missing, and the standard error with them."""
_FEWEST_OF_CLASS = 3
"""A part may have one less than a class's share of it, and of one sample there is no standard error."""
_MARGIN = 1.2
"""On the number of samples that a standard error on fewer lets expect."""
_FLOOR = 0.1
"""Of the error that is allowed: no standard error is taken to be less, so that what is far below is not told apart."""
_CHANCE = 3.0
"""Standard errors that the worst of many points is off by chance."""
_USUAL_PART = 1 / 3
"""Of all points, about as many as are evaluated in the end, for what pays only in a long evaluation."""


def increments(wrapper: ModelWrapper, data: SplitData, at_center: Evaluation) -> list[SplitData]:
    """The split in parts of growing size, whose unions N/16, N/8, … hold each class by its share.

    One part, the split itself, where it is small, where the loss couples samples, or where it does not say what each
    sample adds to it. None is so small that two samples of a class would not be in it.
    """
    sizes = [data.num_samples // 2**power for power in range(_DOUBLINGS, 0, -1)]
    rarest = min(sums.counted for sums in at_center.sums.values())
    sizes = [size for size in sizes if size >= _FEWEST and size * rarest >= _FEWEST_OF_CLASS * data.num_samples]
    by_sample = all(sums.entries == "samples" for sums in at_center.sums.values())
    if not sizes or not by_sample or wrapper.batch_coupled:
        return [data]
    order = stratified_order(data, _SEED)
    # As the wrapper joins the batches of a part that is asked for by --samples.
    joined = -(-data.num_samples // data.num_batches) if wrapper.form.terms is not None else None
    bounds = [0, *sizes, data.num_samples]
    return [subset(data, np.sort(order[low:high]), batch_size=joined) for low, high in itertools.pairwise(bounds)]


class IncrementalRun:
    """Evaluates points of `blocks` as they are asked for; sums over the parts of a split add up.

    A point is done when the paired standard error of its difference to the center, against the whole split, is at
    most `error`. The points that were evaluated on all samples tell how far the standard errors of parts can be
    trusted. The other arguments are those of `evaluate`.
    """

    def __init__(
        self,
        wrapper: ModelWrapper,
        parts: Sequence[SplitData],
        blocks: Sequence[PointBlock],
        center: NamedTensors,
        *,
        at_center: Evaluation,
        error: float,
        settings: EvaluationSettings,
        recompute: SplitData | None,
        advance: Callable[[float], None] | None,
    ) -> None:
        self.num_points = sum(len(block.coefficients) for block in blocks)
        self.sample_evaluations = 0
        self.strategies: dict[str, None] = {}
        self.reasons: dict[str, None] = {}
        self.precisions: list[PrecisionReport] = []
        self._wrapper, self._parts, self._blocks, self._center = wrapper, parts, blocks, center
        self._at_center, self._error = at_center.sums, error
        self._settings, self._recompute = settings, recompute
        self._advance, self._advanced = advance, 0.0
        self._num_samples = np.cumsum([part.num_samples for part in parts])
        # How many parts each point was evaluated on.
        self._depth = np.zeros(self.num_points, dtype=np.int64)
        self._sums = {name: np.zeros((len(_POINT_FIELDS), self.num_points)) for name in at_center.sums}
        self._center_sums: list[dict[str, PointSums]] = []
        # Of the loss, as it was on so many parts: L - L(center) and its standard error against the whole split.
        self._differences = np.full((len(parts), self.num_points), np.nan)
        self._errors = np.full((len(parts), self.num_points), np.nan)

    def add(self, points: np.ndarray, whole: np.ndarray | None = None) -> None:
        """Evaluates points that were not evaluated before, those in `whole` on all samples; ascending positions."""
        self._evaluate(0, points)
        if whole is not None:
            for depth in range(1, len(self._parts)):
                self._evaluate(depth, whole)
        while True:
            # Also of points from before, in case that standard errors are trusted less by now.
            left = np.flatnonzero((self._depth > 0) & (self._depth < len(self._parts)))
            goal = self._wanted_depth(left)
            left, goal = left[goal > self._depth[left]], goal[goal > self._depth[left]]
            if not left.size:
                return
            for depth in range(1, len(self._parts)):
                self._evaluate(depth, left[(self._depth[left] == depth) & (goal > depth)])

    def sums(self, name: str) -> NestedSums:
        """What is known of a quantity."""
        factors, found = self._factors(), []
        for depth in range(1, len(self._parts) + 1):
            points = np.flatnonzero(self._depth == depth)
            if points.size or depth == len(self._parts):
                part = self._part(name, depth, points)
                if name == LOSS:
                    part = replace(part, factor=float(factors[depth - 1]), least=self._least)
                found.append(part)
        return NestedSums(num_points=self.num_points, parts=tuple(found))

    def finish(self) -> None:
        """Tells that the rest of the points is there too."""
        if self._advance is not None:
            self._advance(self.num_points - self._advanced)

    def _wanted_depth(self, points: np.ndarray) -> np.ndarray:
        """How many parts each point needs, from the standard error on those that it has."""
        rows = self._depth[points] - 1
        error = self._factors()[rows] * np.maximum(self._errors[rows, points], self._least)
        whole, have = float(self._num_samples[-1]), self._num_samples[self._depth[points] - 1]
        with np.errstate(all="ignore"):
            # error² = variance·(1/n - 1/N), which is to be the square of what is allowed.
            variance = error**2 / (1 / have - 1 / whole)
            needed = _MARGIN * variance / (self._error**2 + variance / whole)
        # Where the error is unknown, all samples are needed.
        needed = np.where(np.isfinite(needed), needed, whole)
        depth = np.searchsorted(self._num_samples, np.minimum(needed, whole)) + 1
        enough = error <= self._error
        return np.where(enough, self._depth[points], np.maximum(depth, self._depth[points] + 1))

    def _evaluate(self, depth: int, points: np.ndarray) -> None:
        if not points.size:
            return
        data = self._parts[depth]
        all_points = _USUAL_PART * self.num_points * self._num_samples[-1] / data.num_samples
        usual = math.ceil(self._settings.repeats * max(1.0, all_points / points.size))
        evaluation = evaluate(
            self._wrapper,
            data,
            _restricted(self._blocks, points),
            self._center,
            settings=replace(self._settings, repeats=usual),
            recompute=self._recompute,
            advance=lambda count: self._count(count * data.num_samples / self._num_samples[-1]),
        )
        if evaluation.strategy == "loop":
            # Timed anew, it could come out otherwise for the next points.
            self._settings = replace(self._settings, strategy="loop")
        self.strategies[evaluation.strategy] = None
        if evaluation.reason is not None:
            self.reasons[evaluation.reason] = None
        if evaluation.precision is not None:
            self.precisions.append(evaluation.precision)
        self.sample_evaluations += points.size * data.num_samples
        if depth == len(self._center_sums):
            self._center_sums.append(evaluation.sums)
        for name, sums in evaluation.sums.items():
            self._sums[name][:, points] += np.stack([getattr(sums, field) for field in _POINT_FIELDS])
        self._depth[points] = depth + 1
        part, whole = self._part(LOSS, depth + 1, points), self._at_center[LOSS]
        self._differences[depth, points] = part.difference(whole)
        self._errors[depth, points] = part.difference_error(whole)

    @property
    def _least(self) -> float:
        return _FLOOR * self._error

    def _factors(self) -> np.ndarray:
        """By what the standard errors on so many parts are to be multiplied, at least 1, shape (parts,).

        All points see the same samples: where the difference of one on a part was further from that on all samples
        than chance would have it, large losses are missing in the part, and they are so for other points too.
        """
        known = self._depth == len(self._parts)
        with np.errstate(all="ignore"):
            off = np.abs(self._differences[:, known] - self._differences[-1, known])
            ratio = off / (_CHANCE * np.maximum(self._errors[:, known], self._least))
        return np.fmax.reduce(ratio, axis=1, initial=1.0)

    def _part(self, name: str, depth: int, points: np.ndarray) -> SumsPart:
        """The sums of points that were evaluated on so many parts."""
        center = self._at_center[name]
        if depth < len(self._parts):
            parts = [sums[name] for sums in self._center_sums[:depth]]
            center = replace(center, **{key: sum(getattr(part, key) for part in parts) for key in _CENTER_FIELDS})
        own = dict(zip(_POINT_FIELDS, self._sums[name][:, points], strict=True))
        return SumsPart(points=points, sums=replace(center, **own, groups=None))

    def _count(self, points: float) -> None:
        self._advanced += points
        if self._advance is not None:
            self._advance(points)


def _restricted(blocks: Sequence[PointBlock], points: np.ndarray) -> list[PointBlock]:
    """The blocks with those of their points whose positions over all blocks are given."""
    chosen, first = [], 0
    for block in blocks:
        low, high = np.searchsorted(points, [first, first + len(block.coefficients)])
        if low < high:
            chosen.append(replace(block, coefficients=block.coefficients[points[low:high] - first]))
        first += len(block.coefficients)
    return chosen
