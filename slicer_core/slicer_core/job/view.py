"""What a store holds, as a log shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from slicer_core.job.reporter import FinishedSlice
from slicer_core.slices import Slice, decode_slice
from slicer_core.store import Store, StoredSlice


def stored_slices(store: Store, run_dir: Path, source: str) -> Iterator[FinishedSlice]:
    """All slices of a store, those of a tag by ascending step, read one at a time.

    Raises:
        StoreError: one is damaged.
    """
    for tag, step in _in_order_of_making(store.slices()):
        stored = store.slice(tag, step)
        if stored is not None:
            yield finished_slice(stored, decode_slice(stored.blobs), run_dir, source)


def finished_slice(stored: StoredSlice, data: Slice, run_dir: Path, source: str) -> FinishedSlice:
    """A slice of the store, as one that was there before."""
    return FinishedSlice(
        source=source,
        run_dir=run_dir,
        tag=stored.tag,
        step=stored.step,
        wall_time=stored.wall_time,
        data=data,
        stored=True,
    )


def _in_order_of_making(stored: Iterable[StoredSlice]) -> list[tuple[str, int]]:
    """Tags and steps as a log has them to which each was appended when it was made, but the steps of a tag ascend.

    So a log that grew by appending is the same when it is made again.
    """
    latest: dict[str, float] = {}
    keys: list[tuple[float, str, int]] = []
    for entry in stored:
        latest[entry.tag] = max(entry.wall_time, latest.get(entry.tag, entry.wall_time))
        keys.append((latest[entry.tag], entry.tag, entry.step))
    return [(tag, step) for _, tag, step in sorted(keys)]
