"""Small trainings whose every random number matters: shuffled data, dropout, and draws of Python and numpy."""

from __future__ import annotations

import os

# Before any of the libraries is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

from collections.abc import Callable
from pathlib import Path

import pytest

from slicer_core.slices import Slice
from tensorboard_loss_slicer import read_events
from tensorboard_loss_slicer.event_records import find_event_files


@pytest.fixture(scope="session")
def read_log() -> Callable[[Path], dict[str, dict[int, Slice]]]:
    """Tag -> step -> slice of all event files under a folder."""

    def read(folder: Path) -> dict[str, dict[int, Slice]]:
        found: dict[str, dict[int, Slice]] = {}
        for directory in sorted({path.parent for path in folder.rglob("*tfevents*")}):
            if find_event_files(directory):
                for event in read_events(directory):
                    found.setdefault(event.tag, {})[event.step] = event.data
        return found

    return read
