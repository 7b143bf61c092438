"""Imports of the command's process, which stay for all of it."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from slicer_core.collector import collector_paused


@contextlib.contextmanager
def lasting_imports() -> Iterator[None]:
    """What is imported within is never looked through for garbage, neither meanwhile nor later.

    Only the command does this, for its own process, and once: in a library's, other objects are there too.
    """
    with collector_paused():
        yield
    if not gc.get_freeze_count():
        gc.freeze()
