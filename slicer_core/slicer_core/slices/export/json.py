"""JSON: the slice's header with the values of its axes and arrays; `Slice.from_dict` reads it back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from slicer_core.slices.export.fields import header_fields

if TYPE_CHECKING:
    import numpy as np

    from slicer_core.slices.slice import Slice


def encode_json(data: Slice) -> bytes:
    """ASCII JSON text.

    JSON has no numbers that are not finite: in `values` they are the texts `"NaN"`, `"Infinity"` and `"-Infinity"`,
    which Python's `float` and JavaScript's `Number` read; elsewhere they are null.
    """
    fields = header_fields(data)
    for record, axis in zip(fields["axes"], data.axes, strict=True):
        record["values"] = _json_values(axis.values)
    for record, array in zip(fields["arrays"], data.arrays, strict=True):
        record["values"] = _json_values(array.values)
    return json.dumps(fields, allow_nan=False, separators=(",", ":")).encode("ascii")


def _json_values(values: np.ndarray) -> Any:
    if values.dtype.kind == "i":
        return values.tolist()
    # By way of numpy's text, a float32 keeps its short decimal form.
    numbers = [_json_number(float(text)) for text in values.ravel().astype(str).tolist()]
    return _nested(numbers, values.shape)


def _json_number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _nested(numbers: list[float | str], shape: tuple[int, ...]) -> list[Any]:
    if len(shape) == 1:
        return numbers
    rows, columns = shape
    return [numbers[row * columns : (row + 1) * columns] for row in range(rows)]
