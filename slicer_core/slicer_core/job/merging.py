"""Tiles of one store taken into another, where they fit."""

from __future__ import annotations

from collections.abc import Callable

from slicer_core.checkpoints import Checkpoint
from slicer_core.errors import StoreError
from slicer_core.job.center_check import center_difference
from slicer_core.job.prepare import PreparedJob
from slicer_core.job.prepared_source import PreparedSource
from slicer_core.job.work import TileResult
from slicer_core.methods.tile_names import POINTS
from slicer_core.store import Store, TileKey


def import_tiles(
    prepared: PreparedJob,
    source: PreparedSource,
    given: tuple[Store, str],
    target: tuple[Store, str],
    center: Callable[[Checkpoint, str], TileResult],
) -> int:
    """Copies the tiles of a job (store, name) that another store lacks, and returns how many.

    `center` evaluates a checkpoint's center on a split, against which each tile's own is held.

    Raises:
        StoreError: a tile was evaluated around another center, or is damaged.
    """
    (shard, job), (store, own_job) = given, target
    taken = 0
    for checkpoint in source.selected:
        fingerprint = prepared.fingerprint(checkpoint)
        there = set(store.tile_names(own_job, fingerprint))
        centers: dict[str, TileResult] = {}
        for split, name in shard.tile_names(job, fingerprint):
            if (split, name) in there:
                continue
            tile = shard.tile(TileKey(job=job, checkpoint=fingerprint, tile=name, split=split))
            assert tile is not None, "it was listed"
            if split in prepared.splits and name.startswith(POINTS):
                if split not in centers:
                    centers[split] = center(checkpoint, split)
                difference = center_difference(tile.sums, centers[split].sums, prepared)
                if difference is not None:
                    raise StoreError(
                        f"{shard.path} does not fit: {difference}, at the center of {checkpoint.path}. The shard ran "
                        "with something else that the module imports, or on another kind of machine: remove it, and "
                        "evaluate the shard again"
                    )
            store.put_tile(TileKey(job=own_job, checkpoint=fingerprint, tile=name, split=split), tile)
            taken += 1
    return taken
