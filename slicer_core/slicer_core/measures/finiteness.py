"""How much of a slice has no finite loss."""

from __future__ import annotations

import numpy as np

from slicer_core.measures.field import LossField
from slicer_core.slices import Measure


def non_finite_share(field: LossField) -> dict[str, Measure]:
    """The part of the points whose loss is NaN or infinite, from 0 to 1; exact. `details`: how many they are."""
    finite = np.isfinite(field.values)
    count = int(finite.size - finite.sum())
    return {"non_finite_share": Measure(value=count / finite.size, details={"points": count})}
