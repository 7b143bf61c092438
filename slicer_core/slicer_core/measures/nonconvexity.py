"""Where a plane curves downward.

Li, Xu, Taylor, Studer, Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS 2018, section 6, map the
least eigenvalue of the whole Hessian; this is of the plane's own 2×2 one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slicer_core.measures.differences import second_difference_weights
from slicer_core.measures.field import LossField
from slicer_core.slices import Measure

SIGNIFICANT = 2.0
"""Standard errors by which an eigenvalue has to lie below zero."""


def non_convex_share(field: LossField) -> dict[str, Measure]:
    """The part of the inner points whose least eigenvalue λ of H v = λ G v is below -2 standard errors; from 0 to 1.

    H is the 2×2 discrete Hessian, by second and cross differences of the 3×3 points around; G = DᵀD with the two
    directions as the columns of D, so that λ is a curvature by unit of length in parameter space, whatever the
    directions' norms and angle. The standard error of λ is the paired one of its 9 losses, or what bounds it. Points
    with a loss around that is not finite are left out. `details`: how many points count, and the part of them whose λ
    is negative at all (`negative`); whether G was known (`metric`), else it is the identity.
    """
    if not field.is_spaced or min(field.values.shape) < 3:
        return {}
    metric, known = _metric(field)
    weights, eigenvalues = _least_eigenvalues(field, metric)
    counted = np.isfinite(eigenvalues)
    if not counted.any():
        return {}
    errors, kind = field.difference_errors(_stencils(field.values.shape), weights)
    below = eigenvalues < -SIGNIFICANT * errors
    details: dict[str, Any] = {
        "points": int(counted.sum()),
        "negative": float((eigenvalues[counted] < 0).mean()),
        "metric": "of the directions" if known else "of the coordinates",
        "error": kind,
    }
    return {"non_convex_share": Measure(value=float(below[counted].mean()), details=details)}


def _metric(field: LossField) -> tuple[np.ndarray, bool]:
    """DᵀD, and whether the slice says it."""
    norms, cosine = [direction.norm for direction in field.data.directions], field.data.cosine
    if len(norms) == 2 and cosine is not None and all(0 < norm < math.inf for norm in norms) and abs(cosine) < 1:
        across = cosine * norms[0] * norms[1]
        return np.array([[norms[0] ** 2, across], [across, norms[1] ** 2]]), True
    return np.eye(2), False


def _stencils(shape: tuple[int, ...]) -> np.ndarray:
    """The positions of the 3×3 points around each inner one, shape (points, 9)."""
    positions = np.arange(math.prod(shape)).reshape(shape)
    return np.lib.stride_tricks.sliding_window_view(positions, (3, 3)).reshape(-1, 9)


def _least_eigenvalues(field: LossField, metric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each inner point, the weights whose sum with the 3×3 losses is its λ, shape (points, 9), and λ, (points,)."""
    first, second = field.coordinates
    rows, columns = first.size - 2, second.size - 2
    pure = np.zeros((2, rows, columns, 3, 3))
    pure[0, :, :, :, 1] = second_difference_weights(first)[:, None, :]
    pure[1, :, :, 1, :] = second_difference_weights(second)[None, :, :]
    cross = np.zeros((rows, columns, 3, 3))
    area = (first[2:] - first[:-2])[:, None] * (second[2:] - second[:-2])[None, :]
    for row, column, sign in ((0, 0, 1), (0, 2, -1), (2, 0, -1), (2, 2, 1)):
        cross[:, :, row, column] = sign / area
    stencils = np.stack([pure[0], cross, pure[1]]).reshape(3, -1, 9)
    losses = field.values.reshape(-1)[_stencils(field.values.shape)]
    with np.errstate(all="ignore"):
        parts = (stencils * losses).sum(axis=-1)
    finite = np.isfinite(parts).all(axis=0)
    hessians = np.where(finite, parts[[0, 1, 1, 2]], 0.0).T.reshape(-1, 2, 2)
    inverse = np.linalg.inv(np.linalg.cholesky(metric))
    values, vectors = np.linalg.eigh(inverse @ hessians @ inverse.T)
    v = vectors[:, :, 0] @ inverse
    factors = np.stack([v[:, 0] ** 2, 2 * v[:, 0] * v[:, 1], v[:, 1] ** 2])
    return (factors[:, :, None] * stencils).sum(axis=0), np.where(finite, values[:, 0], np.nan)
