"""How convex the loss is at the points of a grid: the extreme eigenvalues of its Hessian at each.

Li, Xu, Taylor, Studer, Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS 2018, section 6: a plane may
look convex where the full space is not, and |λ_min/λ_max| next to zero says that it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from slicer_core.curvature import eigenpairs
from slicer_core.curvature.problem import SymmetricMatrix
from slicer_core.errors import ConvergenceError, UsageError
from slicer_core.evaluate import running_statistics
from slicer_core.measures.eigenvalues import curvature_around
from slicer_core.measures.surroundings import Measured, Surroundings
from slicer_core.measures.table import CURVATURE_MAP_POINTS
from slicer_core.parameters import NamedTensors
from slicer_core.slices import Axis, Measure, SliceArray

TOLERANCE = 0.01
NAMES = ("lambda_min", "lambda_max", "lambda_ratio", "lambda_residual")


def curvature_map(
    around: Surroundings, *, points: int = CURVATURE_MAP_POINTS, tolerance: float = TOLERANCE
) -> Measured:
    """Arrays λ_min, λ_max, |λ_min/λ_max|, and the larger of both residuals ‖Hv - λv‖, over a grid.

    They are computed at up to `points` values of each axis, ends included, and interpolated linearly between, where
    the arrays of role `interpolated` are 1. NaN where the Hessian is not finite or the eigenvalues are not found. The
    measure is the largest ratio among the points that were computed; `details`: how many those are along each axis
    (`computed`), how many have no ratio (`failed`), the largest residual relative to λ_max, and the products with H.

    Raises:
        UsageError: BatchNorm's statistics are estimated anew at each point, and those of the center are not theirs.
    """
    if around.batchnorm == "recompute" and running_statistics(around.wrapper.model):
        raise UsageError(
            "--measures curvature_map is of points with the center's BatchNorm statistics: give --batchnorm frozen"
        )
    matrix = curvature_around(around).matrix()
    (block,) = around.plan.blocks
    directions, shape = block.directions(), around.plan.shape
    coefficients = block.coefficients.reshape(*shape, -1)
    chosen = [np.unique(np.linspace(0, size - 1, min(size, points)).round().astype(int)) for size in shape]
    found = np.full((len(NAMES), *(len(where) for where in chosen)), np.nan)
    products = 0
    for row, first in enumerate(chosen[0]):
        for column, second in enumerate(chosen[1]):
            around.advance(np.prod(shape) / (len(chosen[0]) * len(chosen[1])))
            matrix.move_to(_point(around.state, directions, coefficients[first, second]))
            try:
                found[:, row, column], used = _extremes(matrix, around.seed, tolerance)
            except ConvergenceError:
                continue
            products += used
    interpolated = np.ones(shape, dtype=np.int64)
    interpolated[np.ix_(*chosen)] = 0
    arrays = []
    for name, values in zip(NAMES, found, strict=True):
        whole = _between(values, chosen, around.plan.axes)
        arrays.append(SliceArray(name=name, split=around.split, role="value", values=whole))
        if interpolated.any():
            arrays.append(SliceArray(name=name, split=around.split, role="interpolated", values=interpolated))
    there = np.isfinite(found[2])
    details = {
        "computed": [len(where) for where in chosen],
        "failed": int((~there).sum()),
        "residual": float((found[3] / np.abs(found[1]))[there].max()) if there.any() else None,
        "tolerance": tolerance,
        "products": products,
    }
    highest = float(found[2][there].max()) if there.any() else float("nan")
    return Measured(measures={"curvature_map": Measure(value=highest, details=details)}, arrays=arrays)


def _point(center: NamedTensors, directions: tuple[NamedTensors, ...], coefficients: np.ndarray) -> NamedTensors:
    moved: dict[str, torch.Tensor] = {}
    for direction, coefficient in zip(directions, coefficients.tolist(), strict=True):
        for name, tensor in direction.items():
            start = moved[name] if name in moved else center[name]
            moved[name] = start + coefficient * tensor.to(start)
    return moved


def _extremes(matrix: SymmetricMatrix, seed: int, tolerance: float) -> tuple[np.ndarray, int]:
    top = eigenpairs(matrix, 1, seed=seed, tolerance=tolerance)
    bottom = eigenpairs(matrix, 1, which="bottom", seed=seed, tolerance=tolerance, largest=float(top.values[0]))
    low, high = float(bottom.values[0]), float(top.values[0])
    residual = max(float(top.residuals[0]), float(bottom.residuals[0]))
    ratio = abs(low / high) if high else float("nan")
    return np.array([low, high, ratio, residual]), top.products + bottom.products


def _between(values: np.ndarray, chosen: Sequence[np.ndarray], axes: Sequence[Axis]) -> np.ndarray:
    """Values at the chosen points of each axis, linearly between them along one axis and then the other."""
    for number, (where, axis) in enumerate(zip(chosen, axes, strict=True)):
        order = np.argsort(axis.values[where], kind="stable")
        known, coordinates = axis.values[where][order], axis.values

        def along(line: np.ndarray, order=order, known=known, coordinates=coordinates) -> np.ndarray:
            return np.interp(coordinates, known, line[order])

        values = np.apply_along_axis(along, number, values)
    return values
