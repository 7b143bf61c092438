"""The column of a table that says which checkpoint a row is of."""

from __future__ import annotations

from collections.abc import Sequence

from loss_slicer.plain_text import printable
from slicer_core.job import FinishedSlice


def step_column(slices: Sequence[FinishedSlice]) -> tuple[str, list[str]]:
    """Its head and its cells: `epoch` over numbers where all count epochs, each with its unit where units differ."""
    units = {printable(finished.data.step_unit) for finished in slices}
    if len(units) == 1:
        return units.pop(), [str(finished.step) for finished in slices]
    return "step", [f"{printable(finished.data.step_unit)} {finished.step}" for finished in slices]
