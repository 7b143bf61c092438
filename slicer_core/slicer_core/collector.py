"""Python's collector of cyclic garbage, held back where much is made that stays."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage is looked for within.

    An import of torch makes some hundred thousand objects, all of which stay, and the collector looks through them
    several times while they come.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def lasting_imports() -> Iterator[None]:
    """What is imported within is never looked through for garbage, neither meanwhile nor later.

    Only for a process that is ours, the command's or a worker's, and once: in a library's, other objects are there too.
    """
    with collector_paused():
        yield
    if not gc.get_freeze_count():
        gc.freeze()
