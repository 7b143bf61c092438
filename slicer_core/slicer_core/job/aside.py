"""Stores that are kept aside: whole ones of which a job starts over, and damaged ones."""

from __future__ import annotations

import time
from pathlib import Path

from slicer_core.errors import StoreError, StoreUnavailableError
from slicer_core.store import Store


def move_aside_if_damaged(path: Path) -> Path | None:
    """Moves a store that can't be read out of the way, and returns where it is; None where it is whole.

    Raises:
        StoreUnavailableError: another run has it, or it can't be written.
    """
    try:
        with Store(path) as store:
            faults = store.faults()
            for _ in store.slices():
                pass
    except StoreUnavailableError:
        raise
    except StoreError as error:
        faults = [str(error)]
    if not faults:
        return None
    aside = aside_name(path)
    for ending in ("", "-wal", "-journal", "-shm"):
        own = path.with_name(path.name + ending)
        if own.exists():
            own.rename(aside.with_name(aside.name + ending))
    return aside


def aside_name(path: Path) -> Path:
    """A name for a copy of the store, by the time of its last change."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(path.stat().st_mtime))
    number = 0
    while (aside := path.with_name(f"slices.{stamp}{f'-{number}' if number else ''}.sqlite")).exists():
        number += 1
    return aside
