"""The records of TensorBoard's event files as TensorBoard's own reader gives them, and where a file is damaged."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from tensorboard_loss_slicer.metadata import PLUGIN_NAME
from tensorboard_loss_slicer.protos import Event, Summary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILE_NAME = re.compile(r"tfevents\.(?P<seconds>\d+)\.")
# Around the bytes of a record: its length, the length's checksum, and the bytes' checksum.
_LENGTH = struct.Struct("<QI")
_FRAME_BYTES = _LENGTH.size + 4


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Where a file can't be read on. `at_end`: it ends within a record, as a file that is being written may."""

    offset: int
    at_end: bool


def find_event_files(run_dir: Path, *, empty: bool = False) -> list[Path]:
    """Event files of the directory itself, in TensorBoard's order; those of no bytes only where `empty`."""
    if not run_dir.is_dir():
        return []
    files = (path for path in run_dir.iterdir() if _FILE_NAME.search(path.name) and path.is_file())
    return sorted(path for path in files if empty or path.stat().st_size)


def created_seconds(path: Path) -> int:
    """The time in an event file's name, in seconds since 1970."""
    found = _FILE_NAME.search(path.name)
    return int(found["seconds"]) if found else 0


def read_records(path: Path) -> Iterator[Event | Damage]:
    """The file's events as stored (no migration), checksums checked; a `Damage` last, where the file goes on."""
    size = path.stat().st_size
    offset = 0
    try:
        for record in RawEventFileLoader(str(path)).Load():
            yield Event.FromString(record)
            offset += len(record) + _FRAME_BYTES
    except (DecodeError, MemoryError, OverflowError):
        # The last two: a length that no file has.
        yield Damage(offset=offset, at_end=False)
        return
    if offset < size:
        yield Damage(offset=offset, at_end=_ends_within_record(path, offset, size))


def slice_values(event: Event, descriptions: dict[str, str | None]) -> Iterator[tuple[Summary.Value, str | None]]:
    """The event's slices with their descriptions. `descriptions` keeps each tag's first one from event to event."""
    for value in event.summary.value:
        if value.HasField("metadata"):
            if value.metadata.plugin_data.plugin_name != PLUGIN_NAME:
                continue
            own = value.metadata.summary_description or None
            descriptions.setdefault(value.tag, own)
            yield value, own
        elif value.tag in descriptions:
            # Some writers store a tag's metadata with its first value only.
            yield value, descriptions[value.tag]


def _ends_within_record(path: Path, offset: int, size: int) -> bool:
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return True
    length, checksum = _LENGTH.unpack(head)
    return checksum == masked_crc32c(head[:8]) and offset + length + _FRAME_BYTES > size
