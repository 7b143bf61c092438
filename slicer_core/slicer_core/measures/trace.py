"""The trace of the Hessian at the center: the sum of all curvatures, estimated by random probes.

Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines",
Communications in Statistics 1990.
"""

from __future__ import annotations

import math

from slicer_core.curvature import Estimate, hutchinson_trace
from slicer_core.measures.eigenvalues import curvature_around
from slicer_core.measures.surroundings import Measured, Surroundings
from slicer_core.slices import Measure

PROBES = 64


def trace(around: Surroundings, *, probes: int = PROBES) -> Measured:
    """tr ∂²L/∂θ² as the mean of zᵀHz over probes z of signs, with the standard error of that mean.

    `details`: the number of probes, and the same of each layer's diagonal block, whose values add up to the whole.
    """
    found = hutchinson_trace(curvature_around(around).matrix(), probes=probes, seed=around.seed)
    layers = {layer: {"value": estimate.value, "error": _error(estimate)} for layer, estimate in found.layers.items()}
    value = Measure(
        value=found.whole.value, error=_error(found.whole), details={"probes": found.probes, "layers": layers}
    )
    return Measured(measures={"trace": value})


def _error(estimate: Estimate) -> float | None:
    return None if math.isnan(estimate.error) else estimate.error
