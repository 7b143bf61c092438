"""CSV: one line a point, one column an axis or array. Text that a spreadsheet would run as a formula is neutralized."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from slicer_core.slices.export.fields import point_columns

if TYPE_CHECKING:
    import numpy as np

    from slicer_core.slices.slice import Slice

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def encode_csv(data: Slice) -> bytes:
    """UTF-8 text: a line of column names, then one line for each point, the last axis running fastest.

    Columns: `curve` and `layer` for a family of curves, each axis by its name, each array by name, split and role.
    Numbers are the shortest text that reads back as the same value; `nan`, `inf` and `-inf` are what they say.
    """
    columns = [(name, _cells(values)) for name, values in point_columns(data)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([neutralize_text(name) for name, _ in columns])
    writer.writerows(zip(*(cells for _, cells in columns), strict=True))
    # JSON may hold half a surrogate pair, which UTF-8 can't.
    return text.getvalue().encode("utf-8", errors="backslashreplace")


def neutralize_text(cell: str) -> str:
    """`cell`, with `'` before it where a spreadsheet would take it for a formula. For text only: -1.5 is a number."""
    return "'" + cell if cell.startswith(_FORMULA_STARTS) else cell


def _cells(values: np.ndarray) -> list[str]:
    if values.dtype == object:
        return [neutralize_text(text) for text in values]
    # Numpy's text of a number is the shortest that gives the same value in the array's own dtype.
    return values.astype(str).tolist()
