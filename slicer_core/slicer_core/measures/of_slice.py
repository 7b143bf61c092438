"""`measure`: the measures of a slice that its own points give, one split after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from slicer_core.errors import UsageError
from slicer_core.measures.field import LOSS, LossField
from slicer_core.measures.table import MEASURES, MeasureRow, find_measures
from slicer_core.slices import Measure, Slice


def measure(data: Slice, names: Sequence[str] | None = None) -> dict[str, Measure]:
    """Name -> measure, of those that the slice's own points give, or of `names` among them.

    A measure that does not apply to the slice is left out, and a provisional slice has none. Those of the first split,
    which is what a slice is drawn by, have the plain names; those of another have it at the end, as in `barrier_test`.

    Raises:
        UsageError: a name is unknown, or that of a measure which evaluates the model.
    """
    rows = tuple(MEASURES.values()) if names is None else find_measures(",".join(names))
    if names is not None:
        for row in rows:
            if row.kind != "points":
                raise UsageError(
                    f"{row.name} evaluates the model again, which a slice does not hold: ask for it when the slice is "
                    f"taken ({row.flag}, or measures=({row.name!r},) of a slicer)"
                )
    return _measured(data, [row for row in rows if row.kind == "points"], {})


def with_measures(data: Slice, grouped: Mapping[str, np.ndarray] | None = None) -> Slice:
    """The slice with the measures that its points give, beside those that it has; see `LossField` for `grouped`."""
    found = _measured(data, [row for row in MEASURES.values() if row.kind == "points"], grouped or {})
    return replace(data, measures={**found, **data.measures})


def by_split(found: Mapping[str, Measure], split: str, first: str) -> dict[str, Measure]:
    """The measures of a split by the names that they have in a slice whose first split is `first`."""
    return {name if split == first else f"{name}_{split}": value for name, value in found.items()}


def _measured(data: Slice, rows: Sequence[MeasureRow], grouped: Mapping[str, np.ndarray]) -> dict[str, Measure]:
    if data.status == "provisional":
        # Of points that are not there, a measure would say what the rest of the run takes back.
        return {}
    splits = [array.split for array in data.arrays if (array.name, array.role) == (LOSS, "value")]
    found: dict[str, Measure] = {}
    for split in splits:
        field = LossField.of(data, split, grouped.get(split))
        for row in rows:
            if data.geometry in row.geometries:
                found |= by_split(row.function()(field), split, splits[0])
    return found
