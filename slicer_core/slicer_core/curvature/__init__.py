"""Second derivatives of the loss: its Hessian or Gauss-Newton matrix as an operator, extreme eigenpairs, the trace.

Needs the extra `curvature` (curvlinops, scipy), whose libraries are imported when they are used.
"""

from slicer_core.curvature.blocks import layer_eigenvalues, layers_of
from slicer_core.curvature.eigenpairs import DEFAULT_PRODUCTS, DEFAULT_TOLERANCE, Eigenpairs, Which, eigenpairs
from slicer_core.curvature.problem import CURVATURES, CurvatureKind, CurvatureProblem
from slicer_core.curvature.trace import Estimate, TraceEstimate, hutchinson_trace

__all__ = [
    "CURVATURES",
    "DEFAULT_PRODUCTS",
    "DEFAULT_TOLERANCE",
    "CurvatureKind",
    "CurvatureProblem",
    "Eigenpairs",
    "Estimate",
    "TraceEstimate",
    "Which",
    "eigenpairs",
    "hutchinson_trace",
    "layer_eigenvalues",
    "layers_of",
]
