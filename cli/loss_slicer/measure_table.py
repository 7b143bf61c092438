"""The table of measures at the end of a run: a row for each slice, and as many columns as the terminal has room for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loss_slicer.plain_text import printable
from loss_slicer.step_column import step_column
from slicer_core.job import FinishedSlice
from slicer_core.measures import MEASURES
from slicer_core.slices import Measure

_GAP = 2


@dataclass(frozen=True, kw_only=True)
class MeasureTable:
    """`rows` begin with source and `step_column`, as do `columns`; `left_out` are measures without room."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...]


def measure_table(slices: Sequence[FinishedSlice], width: int | None) -> MeasureTable | None:
    """The measures on each slice's first split, in a table of at most `width` characters (None: as wide as it gets).

    Measures that evaluated the model come first, then those of the points in the order of the table of measures.
    `≥` is before what is a lower bound: sharpness, and a width that the range cuts.
    """
    names = _names(slices)
    if not names:
        return None
    unit, steps = step_column(slices)
    sources = [printable(finished.source, limit=40) for finished in slices]
    starts = list(zip(sources, steps, strict=True))
    head = ("source", unit)
    taken = sum(max(len(text) for text in column) for column in zip(head, *starts, strict=True)) + _GAP
    shown: list[str] = []
    cells: list[list[str]] = []
    for name in names:
        column = [describe_measure(finished.data.measures.get(name)) for finished in slices]
        taken += _GAP + max(len(_title(name)), *map(len, column))
        if width is not None and taken > width and shown:
            break
        shown.append(name)
        cells.append(column)
    return MeasureTable(
        columns=(*head, *map(_title, shown)),
        rows=tuple((*start, *(column[index] for column in cells)) for index, start in enumerate(starts)),
        left_out=tuple(names[len(shown) :]),
    )


def describe_measure(measure: Measure | None) -> str:
    """A value with its error in few digits."""
    if measure is None:
        return "-"
    if not math.isfinite(measure.value):
        return f"{measure.value}"
    bound = "≥" if measure.details.get("bound") == "lower" or "range" in _cuts(measure) else ""
    if measure.error is None or not math.isfinite(measure.error):
        return f"{bound}{measure.value:.3g}"
    return f"{bound}{measure.value:.3g}±{measure.error:.1g}"


def _cuts(measure: Measure) -> list[str]:
    cut = measure.details.get("cut")
    return list(cut.values()) if isinstance(cut, dict) else []


def _title(name: str) -> str:
    return name.replace("_", " ")


def _names(slices: Sequence[FinishedSlice]) -> list[str]:
    """All but those of other splits, and a share of points without a finite loss where that is 0 everywhere."""
    found: dict[str, None] = {}
    for finished in slices:
        others = tuple(f"_{split}" for split in finished.data.splits[1:])
        found |= dict.fromkeys(name for name in finished.data.measures if not (others and name.endswith(others)))
    if not any(_value(finished, "non_finite_share") for finished in slices):
        found.pop("non_finite_share", None)
    order = [row.name for row in sorted(MEASURES.values(), key=lambda row: row.kind)]
    return sorted(found, key=lambda name: _place(name, order))


def _value(finished: FinishedSlice, name: str) -> float:
    measure = finished.data.measures.get(name)
    return 0.0 if measure is None else measure.value


def _place(name: str, order: Sequence[str]) -> int:
    """That of the row whose measure it is, as `width_0` is one of the row `width`; what is in no row comes last."""
    own = [index for index, row in enumerate(order) if name == row or name.startswith(f"{row}_")]
    return min(own, default=len(order))
