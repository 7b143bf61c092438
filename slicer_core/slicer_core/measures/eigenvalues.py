"""The ends of the Hessian's spectrum at the center.

Yao, Gholami, Keutzer, Mahoney, "PyHessian: neural networks through the lens of the Hessian", IEEE Big Data 2020.
"""

from __future__ import annotations

from slicer_core.curvature import DEFAULT_TOLERANCE, CurvatureProblem, eigenpairs
from slicer_core.measures.surroundings import Measured, Surroundings
from slicer_core.slices import Measure

COUNT = 5


def curvature_around(around: Surroundings) -> CurvatureProblem:
    """The Hessian at the center, over all parameters that are not frozen."""
    return CurvatureProblem(
        wrapper=around.wrapper,
        data=around.data,
        state=around.state,
        names=around.wrapper.varying_names(),
        settings=around.settings,
        tick=lambda: around.advance(0.0),
    )


def eigenvalues(around: Surroundings, *, count: int = COUNT, tolerance: float = DEFAULT_TOLERANCE) -> Measured:
    """The largest eigenvalue of ∂²L/∂θ² on the whole split, in the units of the loss over those of θ squared.

    `details`: the `top` ones, descending, and the `bottom` one, each with its residual ‖Hv - λv‖, which an eigenvalue
    is no farther away than, and the number of products with H. There is no error of sampling in it: it is the
    spectrum of the loss on these samples.
    """
    matrix = curvature_around(around).matrix()
    top = eigenpairs(matrix, min(count, matrix.size), seed=around.seed, tolerance=tolerance)
    bottom = eigenpairs(matrix, 1, which="bottom", seed=around.seed, tolerance=tolerance, largest=float(top.values[0]))
    details = {
        "top": [float(value) for value in top.values],
        "residuals": [float(value) for value in top.residuals],
        "bottom": float(bottom.values[0]),
        "bottom_residual": float(bottom.residuals[0]),
        "products": top.products + bottom.products,
    }
    return Measured(measures={"eigenvalues": Measure(value=float(top.values[0]), details=details)})
