"""Numbers of a whole slice, each with its error: one file a measure, and one line in the table of them. See `measure`.

Those of the points alone need numpy only; those that evaluate the model again are imported when they are asked for. The
table needs neither, so that the command's help does not wait for numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from slicer_core.measures.table import MEASURES, MeasureRow, find_measures

if TYPE_CHECKING:
    from slicer_core.measures.field import Line, LossField
    from slicer_core.measures.of_slice import measure, with_measures

_HOMES = {
    "Line": "slicer_core.measures.field",
    "LossField": "slicer_core.measures.field",
    "measure": "slicer_core.measures.of_slice",
    "with_measures": "slicer_core.measures.of_slice",
}

__all__ = ["MEASURES", "Line", "LossField", "MeasureRow", "find_measures", "measure", "with_measures"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
