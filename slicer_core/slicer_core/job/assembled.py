"""A checkpoint's tiles as its slice."""

from __future__ import annotations

from typing import Any

from slicer_core.checkpoints import Checkpoint
from slicer_core.job.checkpoint_work import CheckpointWork
from slicer_core.job.prepare import PreparedJob, describe_settings
from slicer_core.methods.assemble import assemble
from slicer_core.methods.evaluation import Tile, Tiles, joined_points
from slicer_core.methods.tile_names import POINTS, range_tile, tile_range
from slicer_core.plan import SlicePlan
from slicer_core.slices import Slice
from slicer_core.subject import Fit


def assembled_slice(prepared: PreparedJob, work: CheckpointWork, part: tuple[SlicePlan, Tiles] | None = None) -> Slice:
    """The slice of all tiles, without the measures that need the model.

    `part`: the plan of some of the points, and their tiles; see `assemble` for what such a slice lacks.
    """
    checkpoint = work.checkpoint
    plan, tiles = part or (work.evaluator.plan, _whole_tiles(prepared, work))
    return assemble(
        plan,
        tiles,
        work.center,
        config=describe_settings(prepared),
        checkpoint=_described(checkpoint, prepared.fit(checkpoint)),
        metrics=prepared.metrics,
        weight_decay=prepared.settings.weight_decay,
        provisional=part is not None,
    )


def _whole_tiles(prepared: PreparedJob, work: CheckpointWork) -> dict[tuple[str, str], Tile]:
    """The tiles as a slice is made of them, each split's points in one."""
    plan = work.evaluator.plan
    tiles = {where: tile for where, tile in work.tiles.items() if tile_range(where[1]) is None}
    for split in prepared.splits:
        if (split, POINTS) not in tiles:
            parts = [(bounds, work.tiles[split, range_tile(*bounds)]) for bounds in work.ranges(split)]
            tiles[split, POINTS] = joined_points(plan, parts, plan.num_evaluated)
    # Points come first, and the splits in their order.
    order = {split: number for number, split in enumerate(prepared.splits)}
    return dict(sorted(tiles.items(), key=lambda entry: (order[entry[0][0]], entry[0][1] != POINTS)))


def _described(checkpoint: Checkpoint, fit: Fit) -> dict[str, Any]:
    """The checkpoint in the slice's header, with how it became the model's where that was not plain."""
    described: dict[str, Any] = {
        "path": str(checkpoint.path),
        "step": checkpoint.step,
        "step_unit": checkpoint.step_unit,
    }
    if fit.notes:
        described["notes"] = list(fit.notes)
    if fit.from_module:
        described["from_module"] = list(fit.from_module)
    return described
