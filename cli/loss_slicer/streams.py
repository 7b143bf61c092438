"""Standard input, output and error where they are closed, or can't take what is written to them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Watched(io.FileIO):
    """Knows of itself that it could not be written: an error that comes without a file's name tells nobody.

    Where whoever read it has gone, as after `| head`, what is written goes nowhere: what was asked for is done all the
    same, with the status that it has.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.fault: OSError | None = None

    def write(self, content: ReadableBuffer, /) -> int | None:
        try:
            return super().write(content)
        except BrokenPipeError:
            _lead_nowhere(self.fileno())
            return super().write(content)
        except OSError as error:
            self.fault = error
            raise


_watched: _Watched | None = None


def prepare_streams() -> None:
    """To be called first in the process, before anything is written.

    A terminal of another encoding may lack a character of a path or a name. Streams that were closed for the process,
    as by `>&-`, read and write nothing; otherwise the next file that is opened has the stream's number, and is written
    to by whatever writes there.
    """
    global _watched
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace")
    _watched, sys.stdout = _watching(sys.stdout)
    _, sys.stderr = _watching(sys.stderr)


def _watching(given: TextIO) -> tuple[_Watched | None, TextIO]:
    """The stream over a file that is watched; one that is no file, as in a notebook, stays."""
    if not isinstance(given, io.TextIOWrapper):
        return None, given
    given.flush()
    watched = _Watched(given.fileno())
    stream = io.TextIOWrapper(
        watched if given.write_through else io.BufferedWriter(watched),
        encoding=given.encoding,
        errors="backslashreplace",
        line_buffering=given.line_buffering,
        write_through=given.write_through,
    )
    return watched, stream


def write_nowhere(stream: TextIO) -> None:
    """What is left in the stream's buffer would fail the process when Python flushes it at the end."""
    with contextlib.suppress(OSError, ValueError):
        _lead_nowhere(stream.fileno())


def _lead_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    if nowhere != number:
        os.close(nowhere)


def lost_output() -> str | None:
    """What to say where standard output could not take all that was written to it; once."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    if _watched is None or _watched.fault is None:
        return None
    fault, _watched.fault = _watched.fault, None
    write_nowhere(sys.stdout)
    return f"standard output can't be written: {fault.strerror}. See that its disk has room, then run again"
