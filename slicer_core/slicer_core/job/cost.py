"""What a job would cost, without doing it: a few passes of one batch are timed at the first checkpoint."""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slicer_core.evaluate import GROUPS_BYTES, SUMS_BYTES, Evaluation, choose_strategy, evaluate, running_statistics
from slicer_core.job.configuration import Job
from slicer_core.job.prepare import PreparedJob, prepare
from slicer_core.job.reporter import Reporter
from slicer_core.measures import MeasureRow
from slicer_core.measures.gradient import LossGradient
from slicer_core.measures.surroundings import Surroundings
from slicer_core.methods.evaluation import check_coefficients
from slicer_core.methods.method import CenterPoint
from slicer_core.methods.preparation import Preparation
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock, SlicePlan
from slicer_core.subject import SplitData

_FEW_PASSES, _MORE_PASSES = 3, 15


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The cost of a job as a whole.

    `forward_passes` are of batches, those that estimate BatchNorm's statistics included; `backward_passes` those of
    measures that need gradients. `bytes_read` is the size of all files that are read, each once, `bytes_written` that
    of the arrays before they are compressed, `bytes_stored` that of the sums of the points, which the store keeps for a
    run to go on from. `seconds` comes from a few passes of one batch at a center, and so do `trials`, the seconds a
    point of that batch by strategy; `strategy` is what would be taken. With a `tolerance`, points, passes and time are
    upper bounds: how many are needed is known when they are evaluated.
    """

    method: str
    module: str
    checkpoints: int
    points: int
    forward_passes: int
    backward_passes: int
    samples: dict[str, int]
    parameters: int
    bytes_read: int
    bytes_written: int
    bytes_stored: int
    seconds: float
    strategy: str
    trials: dict[str, float]
    run_dirs: tuple[str, ...]
    tolerance: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def estimate(job: Job, reporter: Reporter | None = None) -> Estimate:
    """What the job would cost on this machine, were nothing of it stored yet. Writes nothing.

    Raises:
        SlicerError: the job can't be run.
    """
    watcher = reporter or Reporter()
    prepared = prepare(job, watcher)
    source = next(source for source in prepared.sources if source.selected)
    state = prepared.state(source.selected[0])
    center = CenterPoint(
        wrapper=prepared.wrapper,
        state=state,
        scale_state=state,
        other=lambda name: prepared.other_state(source, name),
        preparation=Preparation(settings=prepared.settings, split=prepared.splits[0], rehearsal=True),
        path=prepared.path(source),
        checkpoint=source.selected[0],
    )
    plan = prepared.method.plan(center, prepared.options)
    check_coefficients(plan, center, prepared.settings)
    for note in plan.notes:
        watcher.note(note)
    wholes = [prepared.wrapper.split(name, job.batch_size) for name in prepared.splits]
    splits = [prepared.wrapper.split(name, job.batch_size, job.samples) for name in prepared.splits]
    # The center is evaluated on all samples too, where the points are not.
    centers = [whole for whole, data in zip(wholes, splits, strict=True) if whole is not data]
    chosen = [checkpoint for source in prepared.sources for checkpoint in source.selected]
    points = plan.num_evaluated * len(chosen)
    metrics = prepared.wrapper.metrics if prepared.metrics is None else prepared.metrics
    quantities = 1 + len(metrics) + len(prepared.wrapper.classes)
    passes = [data for split in splits for data in (split, *_recomputed(prepared))]
    costs = [_cost_of_a_point(prepared, plan, center, data) for data in passes]
    at_centers = [_cost_of_a_point(prepared, plan, center, data) for data in centers]
    gradients = len(chosen) * _gradients_at_a_checkpoint(prepared, plan)
    maps = sum(_map_arrays(row, plan) for row in _applying(prepared, plan) if row.kind == "map")
    return Estimate(
        method=job.method,
        module=str(prepared.module.path),
        checkpoints=len(chosen),
        points=points,
        forward_passes=points * sum(data.num_batches for data in passes)
        + len(chosen) * sum(data.num_batches for data in centers),
        backward_passes=gradients * sum(data.num_batches for data in splits),
        samples={data.name: data.num_samples for data in splits},
        parameters=sum(parameter.numel() for parameter in prepared.wrapper.model.parameters()),
        bytes_read=_bytes_read(prepared),
        # Of each split: a value (8 bytes) and a standard error (4) for each quantity, and of the loss a count (8) and
        # the error of its difference to the center (4). With a tolerance also which of the quantity's points are
        # interpolated (8). A map of a measure is values, and where it is interpolated (8). A band is three.
        bytes_written=plan.num_points
        * len(chosen)
        * len(splits)
        * ((12 if job.tolerance is None else 20) * quantities + 12 + 8 * maps + (24 if plan.repeats else 0)),
        # The loss has sums by groups of samples besides, where each point is evaluated on all of them; else how many.
        bytes_stored=points
        * len(splits)
        * (SUMS_BYTES * quantities + (GROUPS_BYTES if job.tolerance is None else 8 * quantities)),
        seconds=points * sum(cost.seconds for cost in costs)
        + len(chosen) * sum(cost.seconds for cost in at_centers)
        + (gradients * sum(_seconds_of_a_gradient(prepared, state, plan, data) for data in splits) if gradients else 0),
        strategy=costs[0].strategy,
        trials=costs[0].trials,
        run_dirs=tuple(str(source.run_dir) for source in prepared.sources if source.selected),
        tolerance=job.tolerance,
    )


def _bytes_read(prepared: PreparedJob) -> int:
    """The sizes of the files of all checkpoints that have a part in a slice, and of what the method reads besides."""
    method, scale_from = prepared.method, prepared.job.scale_from
    files = {Path(os.path.expanduser(name)) for name in method.files()}
    for source in prepared.sources:
        read = list(source.selected)
        for checkpoint in source.selected:
            read += method.path_read(source.all_checkpoints, checkpoint)
            files.update(method.files_of(checkpoint))
        if read:
            read += [prepared.other(source, name) for name in method.references()]
            read += [prepared.other(source, scale_from, option="--scale-from")] if scale_from != "each" else []
        files.update(file for checkpoint in read for file in checkpoint.format.files(checkpoint.data))
    return sum(file.stat().st_size for file in {file.resolve() for file in files})


def _gradients_at_a_checkpoint(prepared: PreparedJob, plan: SlicePlan) -> int:
    """Backward passes over a split for the measures of one slice."""
    return sum(row.passes * _places(row, plan) for row in _applying(prepared, plan))


def _applying(prepared: PreparedJob, plan: SlicePlan) -> list[MeasureRow]:
    return [row for row in prepared.measures if plan.geometry in row.geometries]


def _places(row: MeasureRow, plan: SlicePlan) -> int:
    """Where a measure is taken: the center, all points besides, or some of them."""
    if row.kind != "map":
        return 1
    if row.axis_points is None:
        return plan.num_points + 1
    return math.prod(min(size, row.axis_points) for size in plan.shape)


def _map_arrays(row: MeasureRow, plan: SlicePlan) -> int:
    """With those that say where values are interpolated."""
    is_thinned = row.axis_points is not None and max(plan.shape) > row.axis_points
    return row.arrays * (2 if is_thinned else 1)


def _seconds_of_a_gradient(prepared: PreparedJob, state: NamedTensors, plan: SlicePlan, data: SplitData) -> float:
    """By the gradient of the first batch, the second time."""
    first = next(iter(data.batches()))
    around = Surroundings(wrapper=prepared.wrapper, state=state, plan=plan, split=data.name, settings=prepared.settings)
    gradients = LossGradient(around, replace(data, num_batches=1, batches=lambda: [first]))
    gradients.at({})
    start = time.perf_counter()
    gradients.at({})
    return (time.perf_counter() - start) * data.num_samples / first.num_samples


def _recomputed(prepared: PreparedJob) -> tuple[SplitData, ...]:
    """What BatchNorm's statistics are estimated anew on before each evaluation of a split, where they are."""
    if prepared.batchnorm != "recompute" or not running_statistics(prepared.wrapper.model):
        return ()
    return (prepared.wrapper.split(prepared.wrapper.splits[0], prepared.settings.batch_size),)


@dataclass(frozen=True, kw_only=True)
class _PointCost:
    seconds: float
    strategy: str
    trials: dict[str, float]


def _cost_of_a_point(prepared: PreparedJob, plan: SlicePlan, center: CenterPoint, data: SplitData) -> _PointCost:
    """From trials of the strategies, as the job would make them.

    Where there are none, from the difference between few and more passes of the first batch, so that what is done once
    cancels out.
    """
    first = next(iter(data.batches()))
    one_batch = replace(data, num_samples=first.num_samples, num_batches=1, batches=lambda: [first])
    block = plan.blocks[0]
    # Streaming makes the directions again for each point, where they move it, and a point takes long.
    streaming = prepared.settings.strategy == "streaming"
    few, more = (1, 2) if streaming else (_FEW_PASSES, _MORE_PASSES)

    share = data.num_samples / first.num_samples
    if not streaming:
        chosen = choose_strategy(prepared.wrapper, data, plan.blocks, center.state, settings=prepared.settings)
        if len(chosen.timings) > 1 and chosen.seconds is not None:
            return _PointCost(seconds=chosen.seconds * share, strategy=chosen.label, trials=dict(chosen.timings))

    def timed(num_passes: int) -> Evaluation:
        coefficients = np.full((num_passes, block.coefficients.shape[1]), 1e-3 if streaming else 0.0)
        still = PointBlock(directions=block.directions, coefficients=coefficients)
        return evaluate(
            prepared.wrapper, one_batch, (still,), center.state, settings=replace(prepared.settings, workers=1)
        )

    tried = timed(1)
    extra = timed(more).seconds - timed(few).seconds
    return _PointCost(seconds=max(extra, 0.0) / (more - few) * share, strategy=tried.strategy, trials={})
