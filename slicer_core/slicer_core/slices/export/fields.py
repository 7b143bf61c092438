"""What the exported formats share: names of arrays, columns of points, and the header without how it is stored."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import TYPE_CHECKING, Any

import numpy as np

from slicer_core.slices.header import encode_slice, parse_header

if TYPE_CHECKING:
    from slicer_core.slices.slice import Slice, SliceArray

_STORAGE_FIELDS = ("blob", "codec", "bytes")
_MAX_NAME_LENGTH = 64


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


def point_columns(data: Slice) -> list[tuple[str, np.ndarray]]:
    """Name and values of each column of a table with a row for each point, the last axis running fastest.

    `curve` and `layer` (texts, dtype object) for a family of curves, each axis by its name, each array by its label.
    """
    shape = data.shape
    first = len(shape) - len(data.axes)
    columns: list[tuple[str, np.ndarray]] = []
    if data.geometry == "curves":
        for name, texts in (("curve", [c.name for c in data.curves]), ("layer", [c.layer for c in data.curves])):
            columns.append((name, np.repeat(np.array(texts, dtype=object), shape[1])))
    for dimension, axis in enumerate(data.axes, start=first):
        aligned = axis.values.reshape([-1 if other == dimension else 1 for other in range(len(shape))])
        columns.append((axis.name, np.broadcast_to(aligned, shape).ravel()))
    return columns + [(array_label(array), array.values.ravel()) for array in data.arrays]


def plain_name(label: str, taken: Container[str]) -> str:
    """`label` by letters, digits and underscores only, and different from all that are taken.

    Names of arrays become file names where an archive is unpacked, and variables where a file is read.
    """
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", label).strip("_")[:_MAX_NAME_LENGTH] or "array"
    name, copies = plain, 1
    while name in taken or name == "file":
        copies += 1
        name = f"{plain}_{copies}"
    return name
