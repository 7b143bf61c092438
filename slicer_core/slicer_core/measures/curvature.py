"""Curvature of the loss at the center along the slice's own directions, from the points next to it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slicer_core.measures.differences import second_difference_weights
from slicer_core.measures.field import Line, LossField
from slicer_core.slices import Measure


def curvature(field: LossField) -> dict[str, Measure]:
    """The second difference (L₋ - 2L₀ + L₊)/h² at the center, in the units of the loss over those of the coordinate².

    It is dᵀHd up to O(h²), with the direction d and the Hessian H. The error is the paired one of the samples alone;
    what h leaves out is not in it. `details`: h, and the curvature by unit of length in parameter space, dᵀHd/‖d‖²
    (`by_length`), which compares between directions. A grid has one along each axis through the center; of a family
    it is the largest, with all of them in `curves`. None where the center is not an inner point of the grid.
    """
    found: list[tuple[Line, Measure]] = []
    for line in field.lines:
        at = np.flatnonzero(line.coordinates == 0)
        if at.size and 0 < at[0] < line.coordinates.size - 1:
            found.append((line, _at(field, line, int(at[0]))))
    return field.by_line("curvature", found, max)


def _at(field: LossField, line: Line, center: int) -> Measure:
    near = slice(center - 1, center + 2)
    (weights,) = second_difference_weights(line.coordinates[near])
    with np.errstate(invalid="ignore"):
        value = float(weights @ line.values[near])
    error, kind = field.difference_error(line.positions[near], weights)
    details: dict[str, Any] = {"h": float(np.diff(line.coordinates[near]).mean()), "error": kind}
    if line.norm is not None and line.norm > 0:
        details["by_length"] = value / line.norm**2
    return Measure(value=value, error=error if math.isfinite(value) else None, details=details)
