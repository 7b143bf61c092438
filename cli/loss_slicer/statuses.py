"""Exit statuses, and how an error looks: one message, with a traceback only where it helps."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

import typer

from loss_slicer.streams import lost_output, write_nowhere
from slicer_core.errors import SlicerError, StopRequested, UserCodeError

# What is wrong with a path that was given, or with the rights of who runs the command, wherever it is first touched.
_OF_PATHS = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)

_STDOUT, _STDERR = 1, 2


class Status(IntEnum):
    """What the command's exit status means; scripts depend on it."""

    DONE = 0
    THRESHOLD = 1
    USAGE = 2
    SOME_FAILED = 3
    INTERNAL = 70
    STOPPED = 75
    INTERRUPTED = 130


@contextlib.contextmanager
def reported(*, verbose: bool = False) -> Iterator[None]:
    """Turns what a command raises into a message on stderr and an exit status."""
    try:
        yield
    except SlicerError as error:
        _explain(error, verbose=verbose)
        raise typer.Exit(Status.USAGE) from error
    except StopRequested as stop:
        say(f"stopped: {stop.reason or 'what was finished is kept; the same command goes on from there'}")
        raise typer.Exit(stop.status) from stop
    except KeyboardInterrupt as interrupt:
        say("interrupted: what was finished is kept; the same command goes on from there")
        raise typer.Exit(Status.INTERRUPTED) from interrupt
    except typer.Exit:
        raise
    except Exception as error:
        if isinstance(error, OSError) and (told := lost_output()) is not None:
            say(f"error: {told}")
            raise typer.Exit(Status.USAGE) from error
        if verbose:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno in _OF_PATHS and error.filename is not None:
            path = os.fsdecode(error.filename)
            say(f"error: {path} can't be used: {error.strerror}. Give another path, or rights to it")
            raise typer.Exit(Status.USAGE) from error
        hint = "" if verbose else "; run again with --verbose to see where, and report that"
        say(f"internal error: {type(error).__name__}: {error}{hint}")
        raise typer.Exit(Status.INTERNAL) from error
    except BaseException as error:
        # Code of the user's that ends the program, as sys.exit() does, would end it with a status that means another
        # thing.
        traceback.print_exc()
        say(f"error: code that the command runs raised {type(error).__name__}: {error}, and nothing more was done")
        raise typer.Exit(Status.USAGE) from error


def exiting(command: Callable[..., int]) -> Callable[..., None]:
    """The command with its returned status as the process's."""

    @functools.wraps(command)
    def run(*args: object, **options: object) -> None:
        with reported():
            raise typer.Exit(command(*args, **options))

    return run


def say(text: str) -> None:
    """A line on stderr, never with control codes of someone else's making."""
    from loss_slicer.plain_text import printable

    try:
        for line in text.splitlines() or [""]:
            print(printable(line, limit=4000), file=sys.stderr, flush=True)
    except OSError:
        # A run goes on where nobody reads what it says any more, or where the disk of its messages is full.
        write_nowhere(sys.stderr)


@contextlib.contextmanager
def stdout_kept_for_json(wanted: bool) -> Iterator[None]:
    """What the user's module prints goes to stderr, so that the document is all that is on stdout.

    So does what libraries and processes write that know nothing of Python's streams.
    """
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(_STDOUT)
    try:
        os.dup2(_STDERR, _STDOUT)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, _STDOUT)
        os.close(kept)


def write_json(document: Mapping[str, Any]) -> None:
    """The document on stdout, in ASCII, so that any terminal and any file name will do."""
    json.dump(document, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def _explain(error: SlicerError, *, verbose: bool) -> None:
    if verbose:
        traceback.print_exception(error)
    elif isinstance(error, UserCodeError) and error.__cause__ is not None:
        _show_user_traceback(error.__cause__, told=str(error))
    say(f"error: {error}")


def _show_user_traceback(cause: BaseException, *, told: str) -> None:
    """The user's own frames: what lies between us and the failure in their code, but not what is `told` after it."""
    ours = {str(Path(sys.modules[name].__file__ or "").parent) for name in ("slicer_core", "loss_slicer")}
    frames = traceback.extract_tb(cause.__traceback__)
    theirs = [
        frame
        for frame in frames
        if not frame.filename.startswith("<frozen") and not any(frame.filename.startswith(folder) for folder in ours)
    ]
    if theirs:
        say("Traceback (most recent call last):")
    raised = f"{type(cause).__name__}: {cause}"
    last = [
        line
        for line in traceback.format_exception_only(cause)
        if raised not in told or not line.rstrip().endswith(raised)
    ]
    for line in traceback.format_list(theirs) + last:
        say(line.rstrip("\n"))
