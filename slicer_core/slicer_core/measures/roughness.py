"""How far a slice is from being smooth at the scale of its grid."""

from __future__ import annotations

import math

import numpy as np

from slicer_core.measures.differences import second_difference_weights, windows
from slicer_core.measures.field import LossField
from slicer_core.slices import Measure


def roughness(field: LossField) -> dict[str, Measure]:
    """RMS of the second differences L₋ - 2L + L₊ along all axes over the range of the losses: no unit.

    It depends on the spacing of the points, so it compares slices of the same grid and range. Uneven spacing counts as
    if the two steps at a point were their mean. Second differences with a point that is not finite are left out, and
    so are such points from the range; a constant slice has roughness 0. It has no error: that would need the
    covariances of neighboring points. `details`: the RMS in the units of the loss, and the range.
    """
    if not field.is_spaced:
        return {}
    squares = [_squares(field.values, field.coordinates[-1])]
    if field.data.geometry == "grid":
        squares.append(_squares(field.values.T, field.coordinates[0]))
    found = np.concatenate(squares)
    found = found[np.isfinite(found)]
    if found.size == 0:
        return {}
    finite = field.values[np.isfinite(field.values)]
    rms, extent = math.sqrt(found.mean()), float(finite.max() - finite.min())
    value = rms / extent if extent > 0 else 0.0
    return {"roughness": Measure(value=value, details={"rms": rms, "range": extent})}


def _squares(values: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Squared second differences along the last axis, flat."""
    if coordinates.size < 3:
        return np.empty(0)
    steps = (coordinates[2:] - coordinates[:-2]) / 2
    with np.errstate(all="ignore"):
        differences = (windows(values) * second_difference_weights(coordinates)).sum(axis=-1) * steps**2
        return (differences**2).reshape(-1)
