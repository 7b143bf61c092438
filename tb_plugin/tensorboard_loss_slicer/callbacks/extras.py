"""The libraries that callbacks are for, and the one message where one is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from slicer_core.errors import UsageError


@contextlib.contextmanager
def library(name: str, *, extra: str) -> Iterator[None]:
    """Around the import of a trainer's library.

    Raises:
        UsageError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != name:
            raise
        raise UsageError(
            f"tensorboard_loss_slicer.callbacks.{name} needs {name}, which is not installed: "
            f"pip install 'tensorboard-loss-slicer[{extra}]'"
        ) from error
