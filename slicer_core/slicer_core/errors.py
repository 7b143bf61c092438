"""Every error that a user can cause. One tree, so that callers catch one class and the command maps it to a status."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SlicerError(Exception):
    """What was given, what was expected and what to do, in one message for a person."""


class UsageError(SlicerError):
    """An option or argument has a value that can't be used."""


class CheckpointError(SlicerError):
    """A checkpoint can't be found, read, ordered by step or matched with the model."""


class ModuleError(SlicerError):
    """The user's module can't be found, or lacks what a slice needs."""


class UserCodeError(ModuleError):
    """The user's own code raised; its exception is the `__cause__`, whose traceback is what helps."""


class DataError(SlicerError):
    """The user's data or loss can't give a value that is the same at each reading and for each batch size."""


class ResourceError(SlicerError):
    """The machine has less memory than the smallest piece of the work needs."""


class ConvergenceError(SlicerError):
    """An iteration did not come to its result within what it was allowed."""


class FormatError(SlicerError):
    """Bytes or a dictionary are not a slice in a format that this version reads."""


class StoreError(SlicerError):
    """The file of finished tiles can't be opened, or holds what can't be right."""


class StoreUnavailableError(StoreError):
    """It is in use or can't be written now, which says nothing of what it holds."""


class StopRequested(BaseException):
    """A signal asked to stop, or what the run needs has gone. Finished tiles are kept, and the run can go on later.

    `status` is the process's exit status; `reason` says why, where the person who reads it did not ask for it.

    A BaseException, so that no handler of ordinary errors takes it for a failed checkpoint.
    """

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(status, reason)
        self.status, self.reason = status, reason


def suggestion(name: str, known: Iterable[str]) -> str:
    """` (nearest: a, b)` for the names most like `name`, or an empty text."""
    nearest = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" (nearest: {', '.join(nearest)})" if nearest else ""
