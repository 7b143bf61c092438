"""The loss barrier of a path between two points.

Frankle, Dziugaite, Roy, Carbin, "Linear mode connectivity and the lottery ticket hypothesis", ICML 2020; Entezari,
Sedghi, Saukh, Neyshabur, "The role of permutation invariance in linear mode connectivity", ICLR 2022.
"""

from __future__ import annotations

import numpy as np

from slicer_core.measures.field import LossField
from slicer_core.slices import Measure

SLICE_TYPES = ("linear_interpolation", "bezier_curve")


def barrier(field: LossField) -> dict[str, Measure]:
    """max over the grid's t in [0, 1] of L(θ_t) - [(1 - t)·L(θ_0) + t·L(θ_1)], in the units of the loss.

    Never negative, since it is 0 at both ends; NaN or infinite where a point between them is. The error is the paired
    one of the three losses at the highest point. `details`: where that is (`at`), and the kind of error.
    Of lines and curves between two points, where the grid holds both ends.
    """
    (line,) = field.lines or (None,)
    if field.data.slice_type not in SLICE_TYPES or line is None:
        return {}
    inside = np.flatnonzero((line.coordinates >= 0) & (line.coordinates <= 1))
    if inside.size < 2 or line.coordinates[inside[0]] != 0 or line.coordinates[inside[-1]] != 1:
        return {}
    t, losses = line.coordinates[inside], line.values[inside]
    with np.errstate(invalid="ignore"):
        rises = losses - ((1 - t) * losses[0] + t * losses[-1])
    # The ends are the line itself, whatever rounding says; NaN stays what it is.
    rises[[0, -1]] = np.where(np.isfinite(losses[[0, -1]]), 0.0, rises[[0, -1]])
    top = int(np.argmax(rises))
    weights = np.zeros(t.size)
    weights[top] += 1.0
    weights[0] -= 1 - t[top]
    weights[-1] -= t[top]
    error, kind = field.difference_error(line.positions[inside], weights)
    return {"barrier": Measure(value=float(rises[top]), error=error, details={"at": float(t[top]), "error": kind})}
