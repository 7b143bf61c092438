"""From evaluated tiles to a `Slice`: values, errors and header together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from slicer_core import slices
from slicer_core.evaluate import Completed, NestedSums, PointSums, WeightDecay, complete
from slicer_core.measures import with_measures
from slicer_core.methods.evaluation import Tile, Tiles, plan_grid
from slicer_core.methods.method import CenterPoint
from slicer_core.methods.tile_names import POINTS, WHOLE, marker_tile, path_tile
from slicer_core.parameters import norm, subset
from slicer_core.plan import SlicePlan
from slicer_core.slices import Slice, SliceArray
from slicer_core.slices.slice import Role
from slicer_core.subject import LOSS


def assemble(
    plan: SlicePlan,
    tiles: Tiles,
    center: CenterPoint,
    *,
    config: Mapping[str, Any],
    checkpoint: Mapping[str, Any] | None = None,
    metrics: tuple[str, ...] | None = None,
    weight_decay: float = 0.0,
    provisional: bool = False,
) -> Slice:
    """The slice of evaluated tiles, with the points of each split in one.

    `metrics` None keeps them all; see `EvaluationSettings` for `weight_decay`. `provisional`: tiles of markers and of
    the trajectory may be missing, whose losses are left out then, and so are measures of the points.
    """
    points = {split: tile for (split, name), tile in tiles.items() if name == POINTS}
    parameters = {name for name, _ in center.wrapper.model.named_parameters()}
    quantities = [
        name
        for name in next(iter(points.values())).sums
        if metrics is None or name in metrics or name not in center.wrapper.metrics
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
                loss={
                    split: tiles[split, marker_tile(marker)].sums[LOSS].center_value
                    for split in points
                    if not provisional or (split, marker_tile(marker)) in tiles
                },
            )
            for marker in plan.markers
        ),
        trajectory=_trajectory(plan, tiles, tuple(points), provisional=provisional),
        checkpoint=checkpoint,
        evaluation=_evaluation(points),
        config=config,
    )
    decay = WeightDecay.of(center.wrapper.model, weight_decay) if weight_decay else None
    added = np.zeros(plan.num_evaluated) if decay is None else decay.along(center.state, plan.all_blocks)
    if decay is not None:
        found = _with_weight_decay(found, plan, center, decay, added[: plan.num_points].reshape(plan.shape))
    found = replace(found, arrays=(*found.arrays, *_band(points, plan, added)))
    return replace(found, status="provisional") if provisional else with_measures(found, _grouped(points, plan))


def _grouped(points: Mapping[str, Tile], plan: SlicePlan) -> dict[str, np.ndarray]:
    """By split, what errors of several points together follow from; not to a tolerance, where samples differ."""
    sums = {split: tile.sums[LOSS] for split, tile in points.items()}
    found = {split: own.grouped_differences for split, own in sums.items() if isinstance(own, PointSums)}
    return {split: rows[: plan.num_points] for split, rows in found.items() if rows is not None}


def _band(points: Mapping[str, Tile], plan: SlicePlan, added: np.ndarray) -> list[SliceArray]:
    """The mean, the lowest and the highest loss at each point over the repeats; NaN where one of them is."""
    if not plan.repeats:
        return []
    ways = (1 + len(plan.repeats), *plan.shape)
    found = []
    for split, tile in points.items():
        sums = tile.sums[LOSS]
        assert isinstance(sums, PointSums), "repeats are not evaluated to a tolerance"
        losses = (sums.values + added).reshape(ways)
        # What overflows is a result like others.
        with np.errstate(all="ignore"):
            band = {"mean": losses.mean(axis=0), "low": losses.min(axis=0), "high": losses.max(axis=0)}
        found += [
            SliceArray(name=f"{LOSS}_{name}", split=split, role="value", values=values) for name, values in band.items()
        ]
    return found


def _trajectory(plan: SlicePlan, tiles: Tiles, splits: tuple[str, ...], *, provisional: bool) -> dict[str, Any] | None:
    path = plan.trajectory
    if path is None:
        return None
    if provisional:
        splits = tuple(split for split in splits if all((split, path_tile(step)) in tiles for step in path.steps))
    return {
        "steps": list(path.steps),
        "coordinates": path.coordinates.tolist(),
        "residuals": path.residuals.tolist(),
        "captured": path.captured,
        "losses": {
            split: [tiles[split, path_tile(step)].sums[LOSS].center_value for step in path.steps] for split in splits
        },
    }


def _with_weight_decay(
    data: Slice, plan: SlicePlan, center: CenterPoint, decay: WeightDecay, added: np.ndarray
) -> Slice:
    """The slice with the penalty in every loss; the center has its loss without it beside."""
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
        trajectory=_trajectory_with_weight_decay(data, plan, decay),
    )


def _trajectory_with_weight_decay(data: Slice, plan: SlicePlan, decay: WeightDecay) -> Mapping[str, Any] | None:
    if data.trajectory is None or plan.trajectory is None:
        return data.trajectory
    added = [decay.at(state()) for state in plan.trajectory.states]
    losses = {
        split: [loss + more for loss, more in zip(values, added, strict=True)]
        for split, values in data.trajectory["losses"].items()
    }
    return {**data.trajectory, "losses": losses}


def _raised(losses: Mapping[str, float], added: float) -> dict[str, float]:
    return {split: loss + added for split, loss in losses.items()}


def _arrays(name: str, points: Mapping[str, Tile], plan: SlicePlan) -> list[SliceArray]:
    arrays = []
    for split, tile in points.items():

        def add(role: Role, values: np.ndarray, split: str = split) -> None:
            arrays.append(
                SliceArray(name=name, split=split, role=role, values=values[: plan.num_points].reshape(plan.shape))
            )

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
        return complete(sums, plan_grid(plan), tolerance=tile.how["tolerance"]["loss"] if name == LOSS else None)
    counts = np.full(plan.num_evaluated, sums.num_entries, dtype=np.int64)
    return Completed(
        values=sums.values,
        stderr=sums.stderr,
        difference_stderr=sums.difference_stderr,
        num_entries=counts,
        interpolated=np.zeros_like(counts),
    )


def _evaluation(points: Mapping[str, Tile]) -> dict[str, Any]:
    """What the splits share at the top, their own numbers by split."""
    first = next(iter(points.values())).how
    per_split = ("samples", "samples_of", "batches", "entries", "precision", "tolerance")
    shared = {key: value for key, value in first.items() if key not in per_split}
    shared["seconds"] = round(sum(tile.how["seconds"] for tile in points.values()), 3)
    own = {key: {split: tile.how[key] for split, tile in points.items() if key in tile.how} for key in per_split}
    return {key: values for key, values in own.items() if values} | shared
