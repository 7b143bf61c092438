"""Tiles of one store taken into another, where they fit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from slicer_core.checkpoints import Checkpoint
from slicer_core.errors import StoreError
from slicer_core.job.center_check import center_difference
from slicer_core.job.decided import keep_decisions, stored_decisions
from slicer_core.job.prepare import PreparedJob
from slicer_core.job.prepared_source import PreparedSource
from slicer_core.job.work import TileResult
from slicer_core.methods.tile_names import POINTS
from slicer_core.store import Store, StoredTile, TileKey


@dataclass(frozen=True, kw_only=True)
class Imported:
    """How many tiles were taken, and what is wrong with the first that was not."""

    taken: int
    fault: StoreError | None


def import_shard(
    prepared: PreparedJob,
    source: PreparedSource,
    file: Path,
    job_in: Callable[[Store], str],
    target: tuple[Store, str],
    center: Callable[[Checkpoint, str], TileResult],
) -> Imported:
    """Copies the tiles of a shard's store that another store (and job in it) lacks, all that are sound.

    `center` evaluates a checkpoint's center on a split, against which each tile's own is held.

    Raises:
        StoreError: the other store can't be read or written.
    """
    store, own_job = target
    with contextlib.ExitStack() as stack:
        try:
            shard = stack.enter_context(Store(file, reading=True))
            job = job_in(shard)
            decided = stored_decisions(shard, job)
        except StoreError as error:
            return Imported(taken=0, fault=error)
        if decided is not None:
            keep_decisions(store, own_job, decided)
        there = {
            (fingerprint, *names)
            for fingerprint in map(prepared.fingerprint, source.selected)
            for names in store.tile_names(own_job, fingerprint)
        }
        taken, fault = 0, None
        for found in _fitting_tiles(prepared, source, shard, job, there, center):
            if isinstance(found, StoreError):
                fault = fault or found
                continue
            (fingerprint, split, name), tile = found
            store.put_tile(TileKey(job=own_job, checkpoint=fingerprint, tile=name, split=split), tile)
            taken += 1
    return Imported(taken=taken, fault=fault)


def _fitting_tiles(
    prepared: PreparedJob,
    source: PreparedSource,
    shard: Store,
    job: str,
    there: set[tuple[str, str, str]],
    center: Callable[[Checkpoint, str], TileResult],
) -> Iterator[tuple[tuple[str, str, str], StoredTile] | StoreError]:
    """(fingerprint, split, name) and content of tiles that are not `there`, or why one or the rest can't be."""
    for checkpoint in source.selected:
        fingerprint = prepared.fingerprint(checkpoint)
        centers: dict[str, TileResult] = {}
        try:
            names = shard.tile_names(job, fingerprint)
        except StoreError as error:
            yield error
            continue
        for split, name in names:
            if (fingerprint, split, name) in there:
                continue
            try:
                tile = shard.tile(TileKey(job=job, checkpoint=fingerprint, tile=name, split=split))
            except StoreError as error:
                yield error
                continue
            assert tile is not None, "it was listed"
            if split in prepared.splits and name.startswith(POINTS):
                if split not in centers:
                    centers[split] = center(checkpoint, split)
                difference = center_difference(tile.sums, centers[split].sums, prepared)
                if difference is not None:
                    yield StoreError(
                        f"{shard.path} does not fit: {difference}, at the center of {checkpoint.path}. The shard ran "
                        "with something else that the module imports, or on another kind of machine: remove it, and "
                        "evaluate the shard again"
                    )
                    return
            yield (fingerprint, split, name), tile
