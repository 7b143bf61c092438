"""Logs whose slices are broken, or lie about themselves."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from tensorboard_loss_slicer.protos import slice_summary

if TYPE_CHECKING:
    from pathlib import Path

    from slicer_core.slices import Slice


def damaged(logdir: Path, data: Slice) -> None:
    """A slice whose header is no JSON."""
    summary = slice_summary("broken", data, blobs=[b"{not json", b""])
    directory = logdir / "damaged"
    writer = EventFileWriter(str(directory))
    writer.add_event(Event(wall_time=1.7e9, step=0, summary=summary))
    writer.close()


def liars(logdir: Path, truth: Slice) -> None:
    """Slices whose headers are not true, and one whose is: a curve of 21 points."""
    true = list(slice_summary("true", truth, "").value[0].tensor.string_val)
    header = json.loads(true[0])
    first = header["arrays"][0]
    bomb = zlib.compress(bytes(2**26), 9)

    def lie(change: dict[str, Any], array: dict[str, Any] | None = None, data: bytes = true[1]) -> list[bytes]:
        arrays_ = [first | (array or {})]
        return [json.dumps(header | {"arrays": arrays_} | change).encode(), data]

    wide = [{"name": "a", "label": "a", "values": list(range(3000))}] * 2
    blobs = {
        "true": true,
        "shape": lie({}, {"shape": [2**40]}),
        "short": lie({}, {"codec": "raw"}, bytes(100)),
        "codec": lie({}, {"codec": "lzma"}),
        "blob": lie({}, {"blob": 99}),
        "bomb": lie({}, {"codec": "zlib"}, bomb),
        "axis": lie({"axes": [{"name": "a", "values": [None] * 21}]}),
        "axes": lie({"axes": header["axes"] * 3}),
        "geometry": lie({"geometry": "sphere"}),
        "deep": [b'{"schema": 1, "a": ' + b"[" * 200_000, true[1]],
        "large": lie({"geometry": "grid", "axes": wide}, {"shape": [3000, 3000], "codec": "zlib"}, bomb),
    }
    directory = logdir / "liars"
    writer = EventFileWriter(str(directory))
    for tag, parts in blobs.items():
        summary = slice_summary(tag, truth, blobs=parts)
        writer.add_event(Event(wall_time=1.7e9, step=0, summary=summary))
    writer.close()
