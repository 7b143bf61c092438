"""A slice to a tolerance: only points that are needed, each on as many samples as it needs, the others interpolated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from slicer_core.evaluate.evaluator import evaluate
from slicer_core.evaluate.increments import IncrementalRun, increments
from slicer_core.evaluate.nested import NestedSums
from slicer_core.evaluate.precision import PrecisionReport
from slicer_core.evaluate.refinement import Grid, Refinement
from slicer_core.evaluate.settings import EvaluationSettings
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS, ModelWrapper, SplitData
from slicer_core.tolerance import Tolerance

_WHOLE_EVERY = 16
"""Of so many of the first points one is evaluated on all samples, besides those around the center."""
SAMPLING_FACTOR = 4.0
"""Standard errors of the sampling that the stated bound counts; of thousands of points the worst one is within it."""


@dataclass(frozen=True, kw_only=True)
class AdaptiveEvaluation:
    """As `Evaluation`, with the sums of the evaluated points, and what the tolerance led to as JSON values.

    `precision` compares losses on the samples that the points were evaluated on, a part of the split or all of it; the
    center's is of the whole split.
    """

    sums: dict[str, NestedSums]
    strategy: str
    reason: str | None
    num_batches: int
    num_samples: int
    seconds: float
    tolerance: dict[str, Any]
    precision: PrecisionReport | None = None


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A quantity at all points, shape (points,): `num_entries` is 0 and `interpolated` 1 where none was evaluated."""

    values: np.ndarray
    stderr: np.ndarray
    difference_stderr: np.ndarray
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

    Each is evaluated on as many samples as make the standard error of its difference to the center, paired and against
    the whole split, at most the tolerance. `grid` says where the points lie, in their order. The other arguments are
    those of `evaluate`.

    Raises:
        SlicerError: see `evaluate`.
    """
    start = time.perf_counter()
    at_center = evaluate(wrapper, data, (), center, settings=settings)
    allowed = tolerance.absolute(at_center.sums[LOSS].center_value)
    run = IncrementalRun(
        wrapper,
        # Statistics that are estimated anew for each point would be so for each part.
        [data] if recompute is not None else increments(wrapper, data, at_center),
        blocks,
        center,
        at_center=at_center,
        error=allowed,
        settings=settings,
        recompute=recompute,
        advance=advance,
    )
    first = np.flatnonzero(grid.first_points())
    run.add(first, whole=np.union1d(np.flatnonzero(grid.center_points()), first[::_WHOLE_EVERY]))
    while (refinement := _refine(run.sums(LOSS), grid, allowed)).wanted.any():
        run.add(np.flatnonzero(refinement.wanted))
    run.finish()
    sums = {name: run.sums(name) for name in at_center.sums}
    precision = None
    if run.precisions:
        exact = evaluate(wrapper, data, (), center, settings=replace(settings, dtype=torch.float32))
        precision = PrecisionReport.joined(run.precisions, center_float32=exact.sums[LOSS].center_value)
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
        precision=precision,
    )


def complete(sums: NestedSums, grid: Grid, *, tolerance: float | None) -> Completed:
    """The evaluated points of a quantity and all others by interpolation.

    `tolerance` is the loss that the evaluation was made to, None for another quantity. Errors of interpolation are
    part of `stderr`.
    """
    found = _refine(sums, grid, tolerance)
    evaluated = sums.evaluated

    def with_interpolated(stderr: np.ndarray) -> np.ndarray:
        # The spread of the samples moves slowly; what the polynomials make of it must not be negative.
        spread = grid.refine(stderr.reshape(grid.shape), evaluated.reshape(grid.shape), tolerance=None).values
        errors = (np.maximum(spread, 0.0), found.noise, found.errors)
        with np.errstate(all="ignore"):
            combined = np.sqrt(sum(error**2 for error in errors)).reshape(-1)
        return np.where(evaluated, stderr, combined)

    return Completed(
        values=found.values.reshape(-1),
        stderr=with_interpolated(sums.stderr),
        difference_stderr=with_interpolated(sums.difference_stderr),
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
