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
