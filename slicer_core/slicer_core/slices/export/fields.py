"""What the exported formats share: the names of arrays, and the header without what describes its storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicer_core.slices.header import encode_slice, parse_header

if TYPE_CHECKING:
    from slicer_core.slices.slice import Slice, SliceArray

_STORAGE_FIELDS = ("blob", "codec", "bytes")


def array_label(array: SliceArray) -> str:
    """`loss_train` for the values of the loss on the training split, `loss_train_stderr` for their errors."""
    parts = [array.name, array.split]
    if array.role != "value":
        parts.append(array.role)
    return "_".join(parts)


def header_fields(data: Slice) -> dict[str, Any]:
    """The slice's header as JSON values: numbers that are not finite are None."""
    header = parse_header(encode_slice(data, codec="raw")[0])
    # The id is a hash of the stored bytes, which an exported file does not have.
    del header["id"]
    for record in header["arrays"]:
        for name in _STORAGE_FIELDS:
            del record[name]
    return header
