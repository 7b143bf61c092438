"""From a plan to a `Slice`: evaluate its points on each split, and put values, errors and header together."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from slicer_core import slices
from slicer_core.choices import BATCHNORM_POLICIES, BatchNormPolicy
from slicer_core.errors import UsageError
from slicer_core.evaluate import (
    AdaptiveEvaluation,
    Completed,
    Evaluation,
    EvaluationSettings,
    Grid,
    NestedSums,
    PointSums,
    WeightDecay,
    complete,
    evaluate,
    evaluate_to_tolerance,
    running_statistics,
)
from slicer_core.measures import with_measures
from slicer_core.methods.method import CenterPoint
from slicer_core.parameters import norm, subset
from slicer_core.plan import PlannedMarker, SlicePlan
from slicer_core.slices import Slice, SliceArray
from slicer_core.slices.slice import Role
from slicer_core.subject import LOSS
from slicer_core.version import __version__

POINTS = "points"
"""The name of the tile that holds all points of a slice."""
WHOLE = "whole"
"""The name of the tile that holds the center alone, on all samples of a split of which the points have a part."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """The sums of some points on one split by quantity, and how they were come by (JSON values)."""

    sums: Mapping[str, PointSums | NestedSums]
    how: Mapping[str, Any]


Tiles = Mapping[tuple[str, str], Tile]
"""(split, tile name) -> tile; the names are `points`, one for each marker, see `marker_tile`, and maybe `whole`."""


def marker_tile(marker: PlannedMarker) -> str:
    """The name of a marker's tile."""
    return f"marker:{marker.name}"


def evaluate_plan(
    plan: SlicePlan,
    center: CenterPoint,
    *,
    splits: tuple[str, ...],
    settings: EvaluationSettings,
    batchnorm: BatchNormPolicy = "frozen",
    advance: Callable[[float], Any] | None = None,
    done: Tiles | None = None,
    on_tile: Callable[[str, str, Tile], None] | None = None,
) -> dict[tuple[str, str], Tile]:
    """The tiles of the plan: those in `done` as they are, the others evaluated and given to `on_tile`.

    Raises:
        SlicerError: see `evaluate`.
    """
    if batchnorm not in BATCHNORM_POLICIES:
        raise UsageError(f"--batchnorm {batchnorm!r} is not one of {', '.join(BATCHNORM_POLICIES)}")
    wrapper = center.wrapper
    has_statistics = bool(running_statistics(wrapper.model))
    recompute = None
    if batchnorm == "recompute" and has_statistics:
        recompute = wrapper.split(wrapper.splits[0], settings.batch_size)
    tiles: dict[tuple[str, str], Tile] = {}

    def add(split: str, name: str, run: Callable[[], Evaluation | AdaptiveEvaluation], points: float) -> None:
        key = (split, name)
        if done is not None and key in done:
            tiles[key] = done[key]
            if advance is not None and points:
                advance(points)
            return
        evaluation = run()
        how = _how(evaluation, wrapper.device, settings, has_statistics, batchnorm, recompute is not None)
        if settings.samples is not None:
            how["samples_of"] = wrapper.split(split, settings.batch_size).num_samples
        tiles[key] = Tile(sums=evaluation.sums, how=how)
        if on_tile is not None:
            on_tile(split, name, tiles[key])

    for split in splits:
        data = wrapper.split(split, settings.batch_size, settings.samples)
        whole = wrapper.split(split, settings.batch_size)

        def run_points(data: Any = data) -> Evaluation | AdaptiveEvaluation:
            given = (wrapper, data, plan.blocks, center.state)
            if settings.tolerance is None:
                return evaluate(*given, settings=settings, recompute=recompute, advance=advance)
            return evaluate_to_tolerance(
                *given,
                _grid(plan),
                tolerance=settings.tolerance,
                settings=settings,
                recompute=recompute,
                advance=advance,
            )

        add(split, POINTS, run_points, plan.num_points)
        for marker in plan.markers:

            def run_marker(data: Any = data, marker: PlannedMarker = marker) -> Evaluation:
                return evaluate(wrapper, data, (), marker.state, settings=settings)

            add(split, marker_tile(marker), run_marker, 0)
        if data is not whole:

            def run_whole(data: Any = whole) -> Evaluation:
                return evaluate(wrapper, data, (), center.state, settings=settings)

            add(split, WHOLE, run_whole, 0)
    return tiles


def assemble(
    plan: SlicePlan,
    tiles: Tiles,
    center: CenterPoint,
    *,
    config: Mapping[str, Any],
    checkpoint: Mapping[str, Any] | None = None,
    metrics: tuple[str, ...] | None = None,
    weight_decay: float = 0.0,
) -> Slice:
    """The slice of evaluated tiles. `metrics` None keeps them all; see `EvaluationSettings` for `weight_decay`."""
    points = {split: tile for (split, name), tile in tiles.items() if name == POINTS}
    parameters = {name for name, _ in center.wrapper.model.named_parameters()}
    quantities = [
        name for name in next(iter(points.values())).sums if name == LOSS or metrics is None or name in metrics
    ]
    found = Slice(
        slice_type=plan.slice_type,
        geometry=plan.geometry,
        axes=plan.axes,
        arrays=tuple(array for name in quantities for array in _arrays(name, points, plan)),
        curves=plan.curves,
        directions=plan.directions,
        cosine=plan.cosine,
        measures=plan.measures,
        center=slices.Center(
            loss={split: tile.sums[LOSS].center_value for split, tile in points.items()},
            metrics={
                name: {split: tile.sums[name].center_value for split, tile in points.items()}
                for name in quantities
                if name != LOSS
            },
            step=None if checkpoint is None else checkpoint["step"],
            norm=norm(subset(center.state, [name for name in center.state if name in parameters])),
            whole_loss={split: tile.sums[LOSS].center_value for (split, name), tile in tiles.items() if name == WHOLE},
        ),
        markers=tuple(
            slices.Marker(
                name=marker.name,
                coordinates=marker.coordinates,
                loss={split: tiles[split, marker_tile(marker)].sums[LOSS].center_value for split in points},
            )
            for marker in plan.markers
        ),
        checkpoint=checkpoint,
        evaluation=_evaluation(points),
        config=config,
    )
    return with_measures(_with_weight_decay(found, plan, center, weight_decay) if weight_decay else found)


def _with_weight_decay(data: Slice, plan: SlicePlan, center: CenterPoint, strength: float) -> Slice:
    """The slice with the penalty in every loss; the center has its loss without it beside."""
    decay = WeightDecay.of(center.wrapper.model, strength)
    added = decay.along(center.state, plan.blocks).reshape(plan.shape)
    assert data.center is not None
    return replace(
        data,
        arrays=tuple(
            replace(array, values=array.values + added) if (array.name, array.role) == (LOSS, "value") else array
            for array in data.arrays
        ),
        center=replace(
            data.center,
            loss=_raised(data.center.loss, decay.at(center.state)),
            whole_loss=_raised(data.center.whole_loss, decay.at(center.state)),
            data_loss=data.center.loss,
        ),
        markers=tuple(
            replace(marker, loss=_raised(marker.loss, decay.at(planned.state)))
            for marker, planned in zip(data.markers, plan.markers, strict=True)
        ),
    )


def _raised(losses: Mapping[str, float], added: float) -> dict[str, float]:
    return {split: loss + added for split, loss in losses.items()}


def _arrays(name: str, points: Mapping[str, Tile], plan: SlicePlan) -> list[SliceArray]:
    arrays = []
    for split, tile in points.items():

        def add(role: Role, values: np.ndarray, split: str = split) -> None:
            arrays.append(SliceArray(name=name, split=split, role=role, values=values.reshape(plan.shape)))

        found = _completed(name, tile, plan)
        add("value", found.values)
        # An error beyond float32 is infinite, which is no reason for a warning.
        with np.errstate(over="ignore"):
            add("stderr", found.stderr.astype(np.float32))
        if name == LOSS:
            add("count", found.num_entries)
            with np.errstate(over="ignore"):
                add("difference_stderr", found.difference_stderr.astype(np.float32))
        if isinstance(tile.sums[name], NestedSums):
            add("interpolated", found.interpolated)
    return arrays


def _completed(name: str, tile: Tile, plan: SlicePlan) -> Completed:
    """The quantity at all points; where no tolerance was given, all of them were evaluated."""
    sums = tile.sums[name]
    if isinstance(sums, NestedSums):
        return complete(sums, _grid(plan), tolerance=tile.how["tolerance"]["loss"] if name == LOSS else None)
    counts = np.full(plan.num_points, sums.num_entries, dtype=np.int64)
    return Completed(
        values=sums.values,
        stderr=sums.stderr,
        difference_stderr=sums.difference_stderr,
        num_entries=counts,
        interpolated=np.zeros_like(counts),
    )


def _grid(plan: SlicePlan) -> Grid:
    """Where the points of the plan lie, for what is interpolated between them."""
    return Grid.of([axis.values for axis in plan.axes], num_curves=max(1, len(plan.curves)))


def _how(
    evaluation: Evaluation | AdaptiveEvaluation,
    device: torch.device,
    settings: EvaluationSettings,
    has_statistics: bool,
    batchnorm: BatchNormPolicy,
    recomputed: bool,
) -> dict[str, Any]:
    how: dict[str, Any] = {
        "samples": evaluation.num_samples,
        "batches": evaluation.num_batches,
        "device": str(device),
        "dtype": "model" if settings.dtype is None else str(settings.dtype).removeprefix("torch."),
        "strategy": evaluation.strategy,
        "seconds": round(evaluation.seconds, 3),
        "entries": evaluation.sums[LOSS].entries,
        "versions": {
            "tensorboard-loss-slicer": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    if evaluation.reason is not None:
        how["reason"] = evaluation.reason
    if isinstance(evaluation, AdaptiveEvaluation):
        how["tolerance"] = evaluation.tolerance
    else:
        how |= _how_it_ran(evaluation)
    if has_statistics:
        how["batchnorm"] = batchnorm
    if recomputed:
        how["batchnorm_batches"] = "the first split's, all"
    return how


def _how_it_ran(evaluation: Evaluation) -> dict[str, Any]:
    ran: dict[str, Any] = {}
    if evaluation.workers > 1:
        ran["workers"] = evaluation.workers
    if evaluation.timings:
        ran["trials"] = {label: float(f"{seconds:.3g}") for label, seconds in evaluation.timings.items()}
    if evaluation.precision is not None:
        ran["precision"] = evaluation.precision.to_dict()
    return ran


def _evaluation(points: Mapping[str, Tile]) -> dict[str, Any]:
    """What the splits share at the top, their own numbers by split."""
    first = next(iter(points.values())).how
    per_split = ("samples", "samples_of", "batches", "entries", "precision", "tolerance")
    shared = {key: value for key, value in first.items() if key not in per_split}
    shared["seconds"] = round(sum(tile.how["seconds"] for tile in points.values()), 3)
    own = {key: {split: tile.how[key] for split, tile in points.items() if key in tile.how} for key in per_split}
    return {key: values for key, values in own.items() if values} | shared
