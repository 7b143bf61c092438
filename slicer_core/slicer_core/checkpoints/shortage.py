"""A checkpoint that does not fit the memory is an error of that checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slicer_core.errors import CheckpointError


@contextmanager
def memory_for(path: Path) -> Iterator[None]:
    """Turns an allocation that fails while `path` is read into a CheckpointError, outside of what held the memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        reason = CheckpointError(f"{path} can't be read: its tensors do not fit the memory")
    else:
        return
    raise reason


def is_shortage(error: BaseException) -> bool:
    """Whether an exception says that memory ran out; torch has a RuntimeError for it."""
    told = ("not enough memory", "out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(words in str(error) for words in told)
