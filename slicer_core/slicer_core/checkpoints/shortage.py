"""A checkpoint that does not fit the memory is an error of that checkpoint, and no end of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slicer_core.errors import CheckpointError
from slicer_core.host_memory import at_most, free_host_memory, size_text


@contextmanager
def memory_for(path: Path, needed: int = 0) -> Iterator[None]:
    """For the reading of `path`, whose tensors take `needed` bytes, with no more memory than is free.

    What a file makes beside its tensors may be many times its size. An allocation that fails in the block becomes a
    CheckpointError, raised outside of what held the memory. Without a limit the system would grant it and then kill
    the process.

    Raises:
        CheckpointError: there is not the memory.
    """
    free = free_host_memory()
    if needed > free:
        raise CheckpointError(
            f"{path} can't be read: its tensors do not fit the memory. They take {size_text(needed)}, and "
            f"{size_text(free)} is free"
        )
    try:
        with at_most(free):
            yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        reason = CheckpointError(
            f"{path} can't be read: what it holds does not fit the memory, of which {size_text(free)} was free"
        )
    else:
        return
    raise reason


def is_shortage(error: BaseException) -> bool:
    """Whether an exception says that memory ran out; torch has a RuntimeError for it."""
    told = ("not enough memory", "out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(words in str(error) for words in told)
