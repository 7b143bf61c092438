"""One slice as a file to download, with its size checked before anything is decoded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from slicer_core.errors import FormatError
from slicer_core.slices import decode_slice
from slicer_core.slices.codec import DTYPES
from slicer_core.slices.export import SERVED_FORMATS
from tensorboard_loss_slicer.serving.blobs import read_array, read_header
from tensorboard_loss_slicer.serving.caps import MAX_EXPORT_BYTES, MAX_TEXT_EXPORT_VALUES
from tensorboard_loss_slicer.serving.request_error import RequestError, quoted

if TYPE_CHECKING:
    from slicer_core.slices.export import ExportFormat
    from tensorboard_loss_slicer.serving.slice_log import SliceLog, StoredSlice

FILE_STEM = "loss_slicer"
"""Of every exported file: a name from the log could be anything."""


def find_format(name: str) -> ExportFormat:
    """The export format of that name.

    Raises:
        RequestError: 400 where there is none.
    """
    export = SERVED_FORMATS.get(name)
    if export is None:
        raise RequestError(400, f"format {quoted(name)} is not one of {', '.join(SERVED_FORMATS)}")
    return export


def export_content(log: SliceLog, stored: StoredSlice, export: ExportFormat) -> bytes:
    """The file's bytes.

    Raises:
        RequestError: 413 where the slice is above the cap, 422 where it is not what the format says.
    """
    header = read_header(log, stored)
    _check_size(header.fields, export)
    blobs = [log.read_blob(stored, 0)]
    blobs += [read_array(log, stored, index) for index in range(1, stored.num_arrays + 1)]
    try:
        return export.encode(decode_slice(blobs))
    except (FormatError, ValueError, RecursionError) as error:
        raise RequestError(422, f"step {stored.step} can't be read: {error}") from error


def _check_size(fields: dict[str, Any], export: ExportFormat) -> None:
    """By what the header claims: decoding fails where the bytes do not fit the claim."""
    num_values = num_bytes = 0
    arrays = fields.get("arrays")
    for record in arrays if isinstance(arrays, list) else ():
        size = _claimed_values(record)
        num_values += size
        num_bytes += size * (4 if record.get("dtype") == DTYPES[0] else 8)
    if num_bytes > MAX_EXPORT_BYTES:
        raise RequestError(
            413, f"the slice's arrays have {num_bytes} bytes, at most {MAX_EXPORT_BYTES} are exported at once"
        )
    if export.name != "npz" and num_values > MAX_TEXT_EXPORT_VALUES:
        raise RequestError(
            413,
            f"the slice's arrays have {num_values} values, at most {MAX_TEXT_EXPORT_VALUES} are exported "
            f"as {export.name}: use format=npz",
        )


def _claimed_values(record: Any) -> int:
    shape = record.get("shape") if isinstance(record, dict) else None
    if not isinstance(shape, list) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise RequestError(422, "the slice's header describes an array that has no shape")
    return math.prod(shape)
