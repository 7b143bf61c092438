"""The largest increase of the loss over a slice.

On the points of a grid of given extent, where sharpness (Keskar et al., ICLR 2017) searches all of a region.
"""

from __future__ import annotations

import numpy as np

from slicer_core.measures.field import LossField
from slicer_core.slices import Measure


def largest_increase(field: LossField) -> dict[str, Measure]:
    """max over the points with a finite loss of L - L₀, in the units of the loss.

    Negative where all points lie below the center. The error is the paired one of that difference. `details`: the
    coordinates of the highest point (`at`), after the curve's name in a family. None where no loss at the center is
    known or no loss is finite.
    """
    center = field.center_loss
    if center is None:
        center = _loss_at_zero(field)
    finite = np.isfinite(field.values)
    if center is None or not np.isfinite(center) or not finite.any():
        return {}
    position = int(np.where(finite, field.values, -np.inf).argmax())
    error, kind = field.difference_error(np.array([position]), np.ones(1))
    return {
        "largest_increase": Measure(
            value=float(field.values.flat[position] - center),
            error=error,
            details={"at": field.place(position), "error": kind},
        )
    }


def _loss_at_zero(field: LossField) -> float | None:
    """Of a curve or grid, the point at the origin; each curve of a family would have its own."""
    places = [np.flatnonzero(values == 0) for values in field.coordinates]
    if field.data.geometry == "curves" or any(place.size == 0 for place in places):
        return None
    return float(field.values[tuple(int(place[0]) for place in places)])
