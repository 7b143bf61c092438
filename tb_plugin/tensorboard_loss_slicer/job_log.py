"""A job's slices as event files: one for each run directory, appended to while that is enough, else made again."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from slicer_core.errors import StopRequested
from tensorboard_loss_slicer.event_files import EventFileLog, SliceEvent

if TYPE_CHECKING:
    # At run time they would bring torch, which a log that is made again does without.
    from slicer_core.job import FinishedSlice, View

# Making a log again takes at most this part of a run, however many slices come out of the order of their steps.
_PUBLISHING_SHARE = 0.1


class JobLog:
    """What `run_job` takes as `on_slice`. A run directory's log is made from its store at the first slice, so that a
    log that was lost, damaged or cut short is whole again; new slices are then added to it.
    """

    def __init__(self) -> None:
        self._logs: dict[Path, _RunLog] = {}

    def __call__(self, result: FinishedSlice, view: View) -> None:
        """See `slicer_core.job.run.OnSlice`.

        Raises:
            StoreError: the log can't be written.
        """
        log = self._logs.get(result.run_dir)
        if log is None:
            log = self._logs[result.run_dir] = _RunLog(result.run_dir, view)
            log.publish()
        elif not result.stored:
            log.add(result)

    def close(self) -> None:
        """Makes all logs whole, and closes them."""
        for log in self._logs.values():
            log.catch_up()
        self._let_go()

    def _let_go(self) -> None:
        for log in self._logs.values():
            log.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Told to stop, too: what is complete is shown. A second signal ends the process at once.
        if kind is None or issubclass(kind, (Exception, KeyboardInterrupt, StopRequested)):
            self.close()
        else:
            self._let_go()


class _RunLog:
    """One run directory's log, which may lag behind the store where whole new files would be made too often."""

    def __init__(self, run_dir: Path, view: View) -> None:
        self.file = EventFileLog(run_dir)
        self._view = view
        self._behind = False
        self._wait_until = 0.0

    def add(self, result: FinishedSlice) -> None:
        if result.only_adds and not self._behind and self.file.is_there():
            self.file.append(_event(result))
            return
        self._behind = True
        if time.monotonic() >= self._wait_until:
            self.publish()

    def publish(self) -> None:
        began = time.monotonic()
        self.file.publish(map(_event, self._view()))
        ended = time.monotonic()
        self._behind = False
        self._wait_until = ended + (ended - began) / _PUBLISHING_SHARE

    def catch_up(self) -> None:
        if self._behind:
            self.publish()


def publish_slices(run_dir: Path, slices: Iterable[FinishedSlice]) -> bool:
    """Makes the run directory's event file hold these slices; False where it did already.

    Raises:
        StoreError: it can't be written, or is of another program.
    """
    with EventFileLog(run_dir) as log:
        return log.publish(map(_event, slices))


def _event(result: FinishedSlice) -> SliceEvent:
    return SliceEvent(tag=result.tag, step=result.step, wall_time=result.wall_time, data=result.data)
