"""Standard input, output and error where they are closed, or can't take what is written to them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_OUTPUT = 1


class _Watched(io.FileIO):
    """Knows of itself that it could not be written: an error that comes without a file's name tells nobody."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.fault: OSError | None = None

    def write(self, content: ReadableBuffer, /) -> int | None:
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
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
    given = sys.stdout
    if isinstance(given, io.TextIOWrapper):
        given.flush()
        _watched = _Watched(_OUTPUT)
        sys.stdout = io.TextIOWrapper(
            _watched if given.write_through else io.BufferedWriter(_watched),
            encoding=given.encoding,
            errors="backslashreplace",
            line_buffering=given.line_buffering,
            write_through=given.write_through,
        )


def write_nowhere(stream: TextIO) -> None:
    """What is left in the stream's buffer would fail the process when Python flushes it at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def lost_output() -> str | None:
    """What to say where standard output could not take all that was written to it; once."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read it has gone, as after `| head`.
        write_nowhere(sys.stdout)
    except OSError:
        pass
    if _watched is None or _watched.fault is None:
        return None
    fault, _watched.fault = _watched.fault, None
    write_nowhere(sys.stdout)
    return f"standard output can't be written: {fault.strerror}. See that its disk has room, then run again"
