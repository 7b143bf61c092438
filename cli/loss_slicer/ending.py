"""Ctrl-C while the process ends: the interpreter gives signals their defaults back, which kill it."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def ending_quietly(status: int) -> Iterator[None]:
    """What is inside is all that the process does; after it, Ctrl-C ends the process with `status` and no words.

    That cuts short what libraries do at the end. The interpreter's own end, a part of a second, is not cut.
    """
    # What is registered first is called last.
    atexit.register(_handle_interrupts, signal.SIG_IGN)
    try:
        yield
    finally:
        atexit.register(_handle_interrupts, lambda number, frame: os._exit(status))


def _handle_interrupts(handler: signal.Handlers | Callable[[int, FrameType | None], None]) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
