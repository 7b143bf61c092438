"""A new event file of slices while it is written, and how it takes the place of those before it."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from typing import TYPE_CHECKING

from tensorboard.summary.writer.record_writer import RecordWriter

from slicer_core.errors import StoreError
from tensorboard_loss_slicer.event_records import created_seconds, find_event_files
from tensorboard_loss_slicer.protos import Event, SessionLog, SourceMetadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = "tensorboard_loss_slicer.event_files"
"""What the first event of a file of ours names as its writer."""

OPENING_RECORDS = 2
"""Records before the first slice."""

_PREFIX = ".loss_slicer-draft-"
_BEFORE_ALL_STEPS = -(2**63)
# A running TensorBoard that reads a file gets stuck when it is gone, so a replaced file stays, empty, for a while.
_EMPTIED_SECONDS = 600.0
_counter = itertools.count()


class Draft:
    """A new event file under a name that TensorBoard does not look at, until it is whole."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        with writing(run_dir):
            run_dir.mkdir(parents=True, exist_ok=True)
            for stale in run_dir.glob(f"{_PREFIX}*"):
                stale.unlink(missing_ok=True)
            self._path = run_dir / f"{_PREFIX}{os.getpid()}-{next(_counter)}"
            self._file = self._path.open("xb")
        self._records = RecordWriter(self._file)
        now = time.time()
        source = SourceMetadata(writer=SOURCE)
        self.write(Event(wall_time=now, file_version="brain.Event:2", source_metadata=source))
        # A TensorBoard that showed the file before this one forgets its points here, rather than keep both.
        start = SessionLog(status=SessionLog.START)
        self.write(Event(wall_time=now, step=_BEFORE_ALL_STEPS, session_log=start))

    def write(self, event: Event) -> None:
        """Add an event.

        Raises:
            StoreError: the file can't be written.
        """
        with writing(self._run_dir):
            self._records.write(event.SerializeToString())

    def publish(self, older: list[Path]) -> Path:
        """Take the place of `older`, in an order that leaves a whole file there whenever the process ends.

        Raises:
            StoreError: the file can't be written.
        """
        with writing(self._run_dir):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            target = _new_name(self._run_dir)
            self._path.rename(target)
            _sync_directory(self._run_dir)
            for file in older:
                os.truncate(file, 0)
            _remove_emptied(target)
        return target

    def abandon(self) -> None:
        """Leave the directory's event files as they are."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(run_dir: Path) -> Iterator[None]:
    """Turns what the operating system refuses into a `StoreError` that names the directory."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the event file in {run_dir} can't be written: {error}; see that the directory can be written to and that "
            f"its disk has room, then run again"
        ) from error


def _new_name(run_dir: Path) -> Path:
    """TensorBoard reads files in the order of their names, so the newest has the latest time in it."""
    latest = max(map(created_seconds, find_event_files(run_dir, empty=True)), default=0)
    seconds = max(int(time.time()), latest + 1)
    return run_dir / f"events.out.tfevents.{seconds:010d}.{socket.gethostname()}.{os.getpid()}.{next(_counter)}"


def _remove_emptied(newest: Path) -> None:
    now = newest.stat().st_mtime
    for file in find_event_files(newest.parent, empty=True):
        status = file.stat()
        if not status.st_size and now - status.st_mtime > _EMPTIED_SECONDS:
            file.unlink()


def _sync_directory(directory: Path) -> None:
    """So that the file's new name outlives a power cut as its bytes do."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        # Some network file systems have no such call.
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
