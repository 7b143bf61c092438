"""The trace of the curvature by random probes, whole and of each layer's block, with its error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from slicer_core.curvature.blocks import layer_of
from slicer_core.curvature.problem import SymmetricMatrix
from slicer_core.errors import UsageError
from slicer_core.philox import standard_normal

DEFAULT_PROBES = 64


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over probes and its standard error, NaN where there is only one probe."""

    value: float
    error: float


@dataclass(frozen=True, kw_only=True)
class TraceEstimate:
    """tr H, and tr of the diagonal block of each layer by its name, from the same probes."""

    whole: Estimate
    layers: Mapping[str, Estimate]
    probes: int


def hutchinson_trace(matrix: SymmetricMatrix, *, probes: int = DEFAULT_PROBES, seed: int = 0) -> TraceEstimate:
    """The mean of zᵀHz over probes z with independent entries ±1, and its standard error over the probes.

    Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines",
    Communications in Statistics 1990. It is exact where H is diagonal. The part of zᵀHz of a layer, z_bᵀ(Hz)_b,
    estimates the trace of the layer's block.

    Raises:
        UsageError: there is no probe.
    """
    if probes < 1:
        raise UsageError(f"{probes} probes can't give a trace: give 1 or more")
    samples: dict[str, list[float]] = {layer_of(name): [] for name in matrix.shapes}
    for probe in range(probes):
        signs = np.where(standard_normal(f"{seed}/probe/{probe}", 0, matrix.size) < 0, -1.0, 1.0)
        parts = dict.fromkeys(samples, 0.0)
        for name, products in matrix.by_name(signs * matrix.product(signs)).items():
            parts[layer_of(name)] += float(products.sum())
        for layer, part in parts.items():
            samples[layer].append(part)
    return TraceEstimate(
        whole=_estimate(np.sum(list(samples.values()), axis=0)),
        layers={layer: _estimate(np.array(found)) for layer, found in samples.items()},
        probes=probes,
    )


def _estimate(samples: np.ndarray) -> Estimate:
    error = samples.std(ddof=1) / math.sqrt(samples.size) if samples.size > 1 else math.nan
    return Estimate(value=float(samples.mean()), error=float(error))
