"""Which writer a slice goes to: the one that is named, or the caller's own torch SummaryWriter, found and not patched.

Never imports torch: a SummaryWriter can only be there where torch is.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from tensorboard.summary.writer.event_file_writer import EventFileWriter

from slicer_core.errors import SlicerError, UsageError
from tensorboard_loss_slicer.tags import TagBook

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from tensorboard_loss_slicer.protos import Event

Writer: TypeAlias = "SummaryWriter | EventFileWriter"

_TORCH_WRITERS = "torch.utils.tensorboard.writer"
_FILE_NAME = re.compile(r"tfevents\.\d+\..*\.(?P<process>\d+)\.(?P<count>\d+)$")


class LossSlicerWarning(UserWarning):
    """A choice was made for the caller that the caller may want to make."""


class _Process:
    """What this process knows of its writers."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.chosen: Writer | None = None
        self.books: WeakKeyDictionary[Any, TagBook] = WeakKeyDictionary()
        self.made: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        # A fork has its own: the thread behind a writer does not survive one.
        self.own: dict[tuple[int, Path], EventFileWriter] = {}
        self.failed: WeakSet[EventFileWriter] = WeakSet()


_process = _Process()
lock = _process.lock
"""Held while a slice is given its step and written, so that threads may log at once."""


def set_writer(writer: Writer | None) -> None:
    """Make `writer` the one that `log_slice` takes in this process; None: find it again.

    Raises:
        UsageError: it is neither a torch SummaryWriter nor a TensorBoard EventFileWriter.
    """
    if writer is not None:
        _check(writer)
    _process.chosen = writer


def find_writer(
    writer: Writer | None = None, logdir: str | os.PathLike[str] | None = None, *, stacklevel: int = 2
) -> Writer:
    """The writer for a slice: `writer`, a writer of our own for `logdir`, that of `set_writer`, or the live one.

    Warns:
        LossSlicerWarning: several SummaryWriters live; the newest was taken. Named at `stacklevel`, as
            `warnings.warn` counts.

    Raises:
        UsageError: both are given, there is none, or it is no writer.
        SlicerError: `logdir` can't be made.
    """
    if writer is not None and logdir is not None:
        raise UsageError(f"both writer and logdir ({os.fspath(logdir)!r}) are given: a slice goes to one of them")
    if writer is not None:
        _check(writer)
        return writer
    if logdir is not None:
        return _own_writer(Path(logdir))
    if _process.chosen is not None:
        return _process.chosen
    return _newest_live(stacklevel + 1)


def book(writer: Writer) -> TagBook:
    """What the writer has under each tag; it lives as long as the writer."""
    return _process.books.setdefault(writer, TagBook())


def write_event(writer: Writer, event: Event) -> None:
    """Add the event and flush it; a closed SummaryWriter is reopened, in a new file, as torch does.

    Raises:
        SlicerError: the file can't be written.
    """
    try:
        target = writer if isinstance(writer, EventFileWriter) else writer._get_file_writer().event_writer
        target.add_event(event)
        target.flush()
    except OSError as error:
        if isinstance(writer, EventFileWriter):
            _process.failed.add(writer)
        raise SlicerError(
            f"the slice could not be written to {log_dir(writer)}: {error}; check that the writer is open and that the "
            f"directory has room and can be written to"
        ) from error


def log_dir(writer: Writer) -> str:
    """The directory of the writer's event files."""
    return os.fspath(writer.get_logdir())


def _check(writer: object) -> None:
    if isinstance(writer, EventFileWriter) or hasattr(writer, "_get_file_writer"):
        return
    raise UsageError(
        f"writer is a torch.utils.tensorboard.SummaryWriter or a tensorboard EventFileWriter, "
        f"found {type(writer).__name__}; for a directory use logdir="
    )


def _own_writer(directory: Path) -> EventFileWriter:
    key = (os.getpid(), Path(os.path.expanduser(directory)).resolve())
    before = _process.own.get(key)
    if before is not None and before not in _process.failed:
        return before
    try:
        new = EventFileWriter(str(key[1]))
    except OSError as error:
        raise SlicerError(
            f"an event file can't be made in logdir {directory}: {error}; give a directory that can be written to"
        ) from error
    # The thread of one that failed has ended, and writes nothing more, even where there is room again.
    if before is not None and before in _process.books:
        _process.books[new] = _process.books[before]
    _process.own[key] = new
    return new


def _newest_live(stacklevel: int) -> SummaryWriter:
    live = _live_writers()
    if len(live) > 1:
        # What only a reference cycle keeps is no choice of the caller's.
        live.clear()
        gc.collect()
        live = _live_writers()
    if not live:
        raise UsageError(
            "no writer to log the slice to: make a torch.utils.tensorboard.SummaryWriter first, pass writer= or "
            "logdir= to log_slice, or name one with set_writer"
        )
    newest = max(live, key=_creation)
    if len(live) > 1:
        warnings.warn(
            f"{len(live)} SummaryWriters are alive; the slice goes to the one made last, in {log_dir(newest)}. Choose "
            f"one with log_slice(..., writer=...) or set_writer(...).",
            LossSlicerWarning,
            stacklevel=stacklevel + 1,
        )
    return newest


def _live_writers() -> list[SummaryWriter]:
    module = sys.modules.get(_TORCH_WRITERS)
    if module is None:
        return []
    summary_writer = module.SummaryWriter
    # type() and not isinstance: the latter asks proxies for their class, which makes lazy ones do their work.
    return [thing for thing in gc.get_objects() if issubclass(type(thing), summary_writer) and _is_built(thing)]


def _is_built(writer: SummaryWriter) -> bool:
    """A SummaryWriter whose constructor raised is alive too, as long as its traceback is."""
    return "all_writers" in vars(writer)


def _creation(writer: SummaryWriter) -> int:
    """A number that grows with each writer made in this process; the same after the writer is reopened."""
    count = _process.made.get(writer)
    if count is None:
        count = _process.made[writer] = max(map(_count, _file_names(writer)), default=-1)
    return count


def _file_names(writer: SummaryWriter) -> list[str]:
    """Event files of the writer, without its suffix: the open one, or those of this process in its directory."""
    suffix = writer.filename_suffix
    if writer.file_writer is not None:
        return [os.path.basename(writer.file_writer.event_writer._file_name).removesuffix(suffix)]
    try:
        names = os.listdir(log_dir(writer))
    except OSError:
        return []
    mine = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return [name for name in mine if (found := _FILE_NAME.search(name)) and found["process"] == str(os.getpid())]


def _count(file_name: str) -> int:
    found = _FILE_NAME.search(file_name)
    return int(found["count"]) if found else -1
