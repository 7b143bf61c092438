"""Signals that ask a run to stop: at once, but for the moments in which the log is written."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

from loss_slicer.statuses import Status
from slicer_core.errors import StopRequested

_STATUS = {signal.SIGINT: Status.INTERRUPTED, signal.SIGTERM: Status.STOPPED, signal.SIGUSR1: Status.STOPPED}


class Stop:
    """Whether a signal has come, and whether it may end what is being done."""

    def __init__(self) -> None:
        self.status: Status | None = None
        self._postponed = False

    def check(self) -> None:
        """Raises KeyboardInterrupt after Ctrl-C, StopRequested after another signal.

        For the case that what the signal's handler raised was swallowed: by code of the user's, or in a destructor.
        """
        if self.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        if self.status is not None:
            raise StopRequested(self.status)

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """What is done inside is finished before the process stops."""
        self._postponed = True
        try:
            yield
        finally:
            self._postponed = False
        self.check()

    def request(self, status: Status) -> None:
        """A signal has come; a second one ends the process at once.

        Raises:
            StopRequested: it did not ask for Ctrl-C's status, and nothing is postponed; else KeyboardInterrupt.
        """
        if self.status is not None:
            os._exit(status)
        self.status = status
        if not self._postponed:
            self.check()


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[Stop]:
    """SIGTERM, SIGUSR1 and Ctrl-C stop what is inside; signals that the process was told to ignore stay ignored."""
    stop = Stop()
    process = os.getpid()
    heeded = [number for number in _STATUS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in heeded}

    def heed(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            # A data loader's worker, which got the handlers with the fork.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        stop.request(_STATUS[signal.Signals(number)])

    for number in heeded:
        signal.signal(number, heed)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
