"""A slice to a tolerance: only points that are needed, each on as many samples as it needs, the others interpolated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slicer_core.evaluate.evaluator import Evaluation, EvaluationSettings, evaluate
from slicer_core.evaluate.nested import NestedSums, SumsPart
from slicer_core.evaluate.refinement import Grid, Refinement
from slicer_core.evaluate.sums import PointSums
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS, ModelWrapper, SplitData
from slicer_core.tolerance import Tolerance

SAMPLING_FACTOR = 4.0
"""Standard errors of the sampling that the stated bound counts; of thousands of points the worst one is within it."""
_FIELDS = ("total", "squares", "with_counts", "with_center")
# Of all points, about as many as are evaluated in the end, for what pays only in a long evaluation.
_USUAL_PART = 1 / 3


@dataclass(frozen=True, kw_only=True)
class AdaptiveEvaluation:
    """As `Evaluation`, with the sums of the evaluated points, and what the tolerance led to as JSON values."""

    sums: dict[str, NestedSums]
    strategy: str
    reason: str | None
    num_batches: int
    num_samples: int
    seconds: float
    tolerance: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A quantity at all points, shape (points,): `num_entries` is 0 and `interpolated` 1 where none was evaluated."""

    values: np.ndarray
    stderr: np.ndarray
    num_entries: np.ndarray
    interpolated: np.ndarray


def evaluate_to_tolerance(
    wrapper: ModelWrapper,
    data: SplitData,
    blocks: Sequence[PointBlock],
    center: NamedTensors,
    grid: Grid,
    *,
    tolerance: Tolerance,
    settings: EvaluationSettings,
    recompute: SplitData | None = None,
    advance: Callable[[float], None] | None = None,
) -> AdaptiveEvaluation:
    """The sums at those points of `blocks` that the others can be interpolated from to the tolerance.

    `grid` says where the points lie, in their order. The other arguments are those of `evaluate`.

    Raises:
        SlicerError: see `evaluate`.
    """
    start = time.perf_counter()
    at_center = evaluate(wrapper, data, (), center, settings=settings)
    allowed = tolerance.absolute(at_center.sums[LOSS].center_value)
    run = _Run(wrapper, data, blocks, center, settings, recompute, advance, at_center)
    run.add(np.flatnonzero(grid.first_points()))
    while (refinement := _refine(run.sums(LOSS), grid, allowed)).wanted.any():
        run.add(np.flatnonzero(refinement.wanted))
    run.finish()
    sums = {name: run.sums(name) for name in at_center.sums}
    num_evaluated = int(sums[LOSS].evaluated.sum())
    return AdaptiveEvaluation(
        sums=sums,
        strategy="+".join(run.strategies) or "loop",
        reason="; ".join(run.reasons) or None,
        num_batches=data.num_batches,
        num_samples=data.num_samples,
        seconds=time.perf_counter() - start,
        tolerance={
            "given": str(tolerance),
            "loss": allowed,
            "points_evaluated": num_evaluated,
            "points_interpolated": run.num_points - num_evaluated,
            "sample_evaluations": run.sample_evaluations,
            "sample_evaluations_of_all": run.num_points * data.num_samples,
        }
        | _stated_errors(refinement),
    )


def complete(sums: NestedSums, grid: Grid, *, tolerance: float | None) -> Completed:
    """The evaluated points of a quantity and all others by interpolation.

    `tolerance` is the loss that the evaluation was made to, None for another quantity. Errors of interpolation are
    part of `stderr`.
    """
    found = _refine(sums, grid, tolerance)
    evaluated = sums.evaluated
    # The spread of the samples moves slowly; what the polynomials make of it must not be negative.
    spread = grid.refine(sums.stderr.reshape(grid.shape), evaluated.reshape(grid.shape), tolerance=None).values
    errors = (np.maximum(spread, 0.0), found.noise, found.errors)
    with np.errstate(all="ignore"):
        combined = np.sqrt(sum(error**2 for error in errors)).reshape(-1)
    return Completed(
        values=found.values.reshape(-1),
        stderr=np.where(evaluated, sums.stderr, combined),
        num_entries=sums.num_entries,
        interpolated=(~evaluated).astype(np.int64),
    )


def _refine(sums: NestedSums, grid: Grid, tolerance: float | None) -> Refinement:
    return grid.refine(
        sums.values.reshape(grid.shape),
        sums.evaluated.reshape(grid.shape),
        tolerance=tolerance,
        noise=sums.sampling_error.reshape(grid.shape),
    )


def _stated_errors(refinement: Refinement) -> dict[str, float | None]:
    """The largest errors over all points, against the full grid on all samples."""
    bound = refinement.errors + SAMPLING_FACTOR * refinement.noise
    found = {
        "interpolation_error": refinement.errors.max(),
        "sampling_standard_error": refinement.noise.max(),
        "error_bound": bound.max(),
    }
    return {name: float(value) if math.isfinite(value) else None for name, value in found.items()}


class _Run:
    """Evaluates points as they are asked for, and adds their sums up."""

    def __init__(
        self,
        wrapper: ModelWrapper,
        data: SplitData,
        blocks: Sequence[PointBlock],
        center: NamedTensors,
        settings: EvaluationSettings,
        recompute: SplitData | None,
        advance: Callable[[float], None] | None,
        at_center: Evaluation,
    ) -> None:
        self.num_points = sum(len(block.coefficients) for block in blocks)
        self.sample_evaluations = 0
        self.strategies: dict[str, None] = {}
        self.reasons: dict[str, None] = {}
        self._wrapper, self._data, self._blocks, self._center = wrapper, data, blocks, center
        self._settings, self._recompute = settings, recompute
        self._advance = advance
        self._advanced = 0.0
        self._at_center = at_center.sums
        self._sums = {name: np.zeros((len(_FIELDS), self.num_points)) for name in at_center.sums}
        self._done = np.zeros(self.num_points, dtype=bool)

    def add(self, points: np.ndarray) -> None:
        """Evaluates points that were not evaluated before; ascending positions."""
        usual = math.ceil(self._settings.repeats * max(1.0, _USUAL_PART * self.num_points / points.size))
        evaluation = evaluate(
            self._wrapper,
            self._data,
            _restricted(self._blocks, points),
            self._center,
            settings=replace(self._settings, repeats=usual),
            recompute=self._recompute,
            advance=self._counted,
        )
        if evaluation.strategy == "loop":
            # Timed anew, it could come out otherwise for the next points.
            self._settings = replace(self._settings, strategy="loop")
        self.strategies[evaluation.strategy] = None
        if evaluation.reason is not None:
            self.reasons[evaluation.reason] = None
        self.sample_evaluations += points.size * self._data.num_samples
        for name, sums in evaluation.sums.items():
            self._sums[name][:, points] += np.stack([getattr(sums, field) for field in _FIELDS])
        self._done[points] = True

    def sums(self, name: str) -> NestedSums:
        """What is known of a quantity."""
        points = np.flatnonzero(self._done)
        own = dict(zip(_FIELDS, self._sums[name][:, points], strict=True))
        whole: PointSums = replace(self._at_center[name], **own)
        return NestedSums(num_points=self.num_points, parts=(SumsPart(points=points, sums=whole),))

    def finish(self) -> None:
        """Tells that the rest of the points is there too."""
        if self._advance is not None:
            self._advance(self.num_points - self._advanced)

    def _counted(self, points: float) -> None:
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
