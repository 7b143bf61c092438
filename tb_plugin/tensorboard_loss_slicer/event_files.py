"""Event files of slices: a run directory's own file, written whole, swapped and appended to, and reading any of them.

The slices come from whoever keeps them; this module knows neither the store nor torch.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tensorboard.summary.writer.record_writer import RecordWriter

from slicer_core.errors import FormatError, StoreError
from slicer_core.slices import Slice, decode_slice, parse_header, slice_id
from tensorboard_loss_slicer.event_draft import OPENING_RECORDS, SOURCE, Draft, writing
from tensorboard_loss_slicer.event_records import (
    Damage,
    find_event_files,
    read_records,
    slice_values,
)
from tensorboard_loss_slicer.protos import Event, slice_summary, value_blobs
from tensorboard_loss_slicer.tags import TagBook

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO, Self


@dataclass(frozen=True, kw_only=True)
class SliceEvent:
    """One slice of a log. `wall_time` in seconds since 1970."""

    tag: str
    step: int
    wall_time: float
    data: Slice
    description: str | None = None


Unreadable = Callable[[str, int, FormatError], None]
"""Told of the tag and step of a slice that can't be read, and why."""


def read_events(path: str | os.PathLike[str], *, unreadable: Unreadable | None = None) -> Iterator[SliceEvent]:
    """The slices of an event file, or of all event files of a run directory, in the order they were written.

    Events of other plugins are passed over; a last record that is not complete yet ends its file.

    Slices that can't be read are told to `unreadable` and passed over, where it is given.

    Raises:
        FormatError: there is no event file, one is damaged (after what comes before), or a slice can't be read.
    """
    given = Path(path)
    files = find_event_files(given) if given.is_dir() else [given]
    if not files or not all(file.is_file() for file in files):
        raise FormatError(f"no event file at {given}: give an event file, or the run directory that holds it")
    return _read_all(files, unreadable)


def _read_all(files: list[Path], unreadable: Unreadable | None) -> Iterator[SliceEvent]:
    descriptions: dict[str, str | None] = {}
    for file in files:
        for record in read_records(file):
            if isinstance(record, Damage):
                if not record.at_end:
                    raise FormatError(f"{file} is damaged at byte {record.offset}: what follows can't be read")
                break
            for value, description in slice_values(record, descriptions):
                try:
                    data = decode_slice(value_blobs(value))
                except FormatError as error:
                    where = FormatError(f"{file}, tag {value.tag!r}, step {record.step}: {error}")
                    if unreadable is None:
                        raise where from error
                    unreadable(value.tag, record.step, where)
                    continue
                yield SliceEvent(
                    tag=value.tag,
                    step=record.step,
                    wall_time=record.wall_time,
                    data=data,
                    description=description,
                )


class EventFileLog:
    """The one event file of a run directory that holds nothing else; one process writes it.

    Nothing is created before the first `publish` or `append`.
    """

    def __init__(self, run_dir: str | os.PathLike[str]) -> None:
        self.run_dir = Path(run_dir)
        # The published file and what it holds, where that is known.
        self._path: Path | None = None
        self._book = TagBook()
        self._open: BinaryIO | None = None

    def publish(self, events: Iterable[SliceEvent]) -> bool:
        """Make the directory's event file hold exactly `events`; False where it already did, and was left alone.

        The same means the same sequence of tag, step and slice id. A file that is damaged is replaced. `events` are
        read once, one at a time; the steps of each tag ascend.

        Raises:
            StoreError: the directory holds an event file that was written by something else, or can't be written.
            UsageError: the steps of a tag don't ascend. The file that was there stays.
            TagTypeError: a tag has slices of two types. The file that was there stays.
        """
        self._forget()
        found = find_event_files(self.run_dir)
        for file in found:
            _check_own(file)
        entries = _entries(found[0]) if len(found) == 1 else iter(())
        book = TagBook()
        # Events that the file has already, as far as they can differ from it.
        kept: list[tuple[float, str | None]] = []
        draft: Draft | None = None
        try:
            for event in events:
                _admit(book, event)
                if draft is None and _is_stored(next(entries, None), event):
                    kept.append((event.wall_time, event.description))
                    continue
                draft = draft or _draft_with(self.run_dir, found, kept)
                draft.write(_event(event))
            if draft is None:
                if len(found) < 2 and next(entries, _END) is _END:
                    self._path, self._book = found[0] if found else None, book
                    return False
                draft = _draft_with(self.run_dir, found, kept)
            self._path, self._book = draft.publish(found), book
        except BaseException:
            if draft is not None:
                draft.abandon()
            raise
        return True

    def is_there(self) -> bool:
        """Whether the directory holds the published file, or none was needed yet, and no other."""
        return find_event_files(self.run_dir) == ([] if self._path is None else [self._path])

    def append(self, event: SliceEvent) -> None:
        """Add one event to the published file, and flush it.

        Raises:
            StoreError: the directory's event files are not one whole file of ours (`publish` replaces them), or the
                file can't be written, and stays as it was.
            UsageError: the tag has that step, or a later one.
            TagTypeError: the tag has slices of another type.
        """
        found = find_event_files(self.run_dir)
        if not found:
            self.publish([event])
            return
        path = found[0]
        if found != [self._path]:
            self._forget()
            self._book = _read_book(self.run_dir, found)
            self._path = path
        record = _event(event).SerializeToString()
        _admit(self._book, event)
        with writing(self.run_dir):
            if self._open is None:
                self._open = path.open("ab")
            end = self._open.tell()
            try:
                writer = RecordWriter(self._open)
                writer.write(record)
                writer.flush()
            except BaseException:
                # Readers would stop at a part of a record, and never see what is appended after it.
                self._forget()
                os.truncate(path, end)
                raise

    def close(self) -> None:
        """Close the file; `append` and `publish` open it again."""
        file, self._open = self._open, None
        if file is not None:
            file.close()

    def _forget(self) -> None:
        self._path, self._book = None, TagBook()
        with contextlib.suppress(OSError):
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_END = object()


def _draft_with(run_dir: Path, found: list[Path], kept: list[tuple[float, str | None]]) -> Draft:
    """A draft that begins with the first slices of the file, at the times and with the descriptions of `kept`."""
    draft = Draft(run_dir)
    try:
        if kept:
            slices = itertools.islice(read_records(found[0]), OPENING_RECORDS, None)
            for record, (wall_time, description) in zip(slices, kept, strict=False):
                assert not isinstance(record, Damage), "what was kept has been read before"
                record.wall_time = wall_time
                record.summary.value[0].metadata.summary_description = description or ""
                draft.write(record)
    except BaseException:
        draft.abandon()
        raise
    return draft


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What a file says of one of its slices."""

    tag: str
    step: int
    id: str
    slice_type: str
    geometry: str


def _entries(file: Path) -> Iterator[_Entry | None]:
    """The slices of a file of ours; None last, where anything else follows."""
    number = -1
    for number, record in enumerate(read_records(file)):
        if number < OPENING_RECORDS:
            if isinstance(record, Damage) or record.HasField("summary"):
                yield None
                return
            continue
        entry = _entry(record)
        yield entry
        if entry is None:
            return
    if number + 1 < OPENING_RECORDS:
        yield None


def _entry(record: Event | Damage) -> _Entry | None:
    if isinstance(record, Damage):
        return None
    values = [value for value, _ in slice_values(record, {})]
    if len(values) != 1 or len(record.summary.value) != 1:
        return None
    try:
        header = parse_header(value_blobs(values[0])[0])
    except FormatError:
        return None
    texts = {key: text for key in ("id", "slice_type", "geometry") if isinstance(text := header.get(key), str)}
    return _Entry(tag=values[0].tag, step=record.step, **texts) if len(texts) == 3 else None


def _is_stored(entry: _Entry | None, event: SliceEvent) -> bool:
    return entry is not None and (entry.tag, entry.step) == (event.tag, event.step) and entry.id == slice_id(event.data)


def _read_book(run_dir: Path, found: list[Path]) -> TagBook:
    book = TagBook()
    if len(found) == 1:
        _check_own(found[0])
        for entry in _entries(found[0]):
            if entry is None:
                break
            book.add(entry.tag, entry.step, entry)
        else:
            return book
    raise StoreError(
        f"{run_dir} does not hold one whole event file of slices, so nothing can be appended to it: publish all slices "
        f"again first"
    )


def _check_own(file: Path) -> None:
    """A file that begins with an event of ours, or can't be read from its first byte."""
    first = next(read_records(file), None)
    if first is not None and not isinstance(first, Damage) and first.source_metadata.writer != SOURCE:
        raise StoreError(
            f"{file} was written by something else, and would be lost: a directory that Loss Slicer keeps holds only "
            f"its own event file; choose another one"
        )


def _event(event: SliceEvent) -> Event:
    summary = slice_summary(event.tag, event.data, event.description)
    return Event(wall_time=event.wall_time, step=event.step, summary=summary)


def _admit(book: TagBook, event: SliceEvent) -> None:
    book.check(event.tag, event.data)
    book.check_ascending(event.tag, event.step)
    book.add(event.tag, event.step, event.data)
