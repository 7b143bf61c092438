"""Sharpness as the largest rise of the loss within a ball around the center, found by projected gradient ascent.

Keskar, Mudigere, Nocedal, Smelyanskiy, Tang, "On large-batch training for deep learning: generalization gap and sharp
minima", ICLR 2017 (a box and a relative rise there); with the Euclidean ball of Foret et al., ICLR 2021. Adaptive:
Kwon, Kim, Park, Choi, "ASAM: adaptive sharpness-aware minimization for scale-invariant learning of deep neural
networks", ICML 2021.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slicer_core.directions import random_direction
from slicer_core.measures.gradient import LossGradient
from slicer_core.measures.rise import rise_along
from slicer_core.measures.surroundings import Measured, Surroundings
from slicer_core.parameters import NamedTensors, norm
from slicer_core.slices import Measure

RADIUS = 0.05
ADAPTIVE_RADIUS = 0.5
"""ρ of the paper's experiments on CIFAR-10."""
STEPS = 20
RESTARTS = 2
_RANDOM_AXIS = 1000
"""Random starts are directions that no slice has."""


def sharpness(
    around: Surroundings, *, radius: float = RADIUS, steps: int = STEPS, restarts: int = RESTARTS
) -> Measured:
    """max over ‖δ‖ ≤ ρ of L(θ₀ + δ) - L(θ₀), in the units of the loss: a lower bound of it.

    δ ← P(δ + ρ·g/‖g‖), with the gradient g of the whole split at θ₀ + δ and P the projection onto the ball, from δ = 0
    and from random points of the sphere; the highest point on the way counts, and never less than 0. The error is the
    paired standard error of the difference at that δ. `details`: ρ (`radius`), steps and restarts. All parameters that
    are not frozen move.
    """
    return _highest(around, "sharpness", None, radius, steps, restarts)


def adaptive_sharpness(
    around: Surroundings, *, radius: float = ADAPTIVE_RADIUS, steps: int = STEPS, restarts: int = RESTARTS
) -> Measured:
    """As `sharpness` over ‖δ/|θ₀|‖ ≤ ρ, which rescaling the weights of a layer and its next does not change.

    δ = |θ₀|·u, and the ascent is in u, whose gradient is |θ₀|·g. Entries that are zero do not move.
    """
    scale = {name: around.state[name].abs() for name in around.wrapper.varying_names()}
    return _highest(around, "adaptive_sharpness", scale, radius, steps, restarts)


def _highest(
    around: Surroundings, name: str, scale: NamedTensors | None, radius: float, steps: int, restarts: int
) -> Measured:
    losses = LossGradient(around)
    center = {key: losses.center[key] for key in losses.names}
    scales = None if scale is None else {key: tensor.to(center[key]) for key, tensor in scale.items()}

    def scaled(vector: NamedTensors) -> dict[str, Tensor]:
        return dict(vector) if scales is None else {key: tensor * scales[key] for key, tensor in vector.items()}

    at_center = losses.at({})
    best_loss, best = at_center.loss, None
    for restart in range(restarts):
        within = {key: torch.zeros_like(tensor) for key, tensor in center.items()}
        found = at_center
        if restart:
            start = random_direction(center, seed=around.seed, axis=_RANDOM_AXIS + restart)
            within = _of_length({key: start[key].to(tensor) for key, tensor in center.items()}, radius) or within
            found = losses.at(_sum(center, scaled(within)))
        for step in range(steps + 1):
            if found.loss > best_loss:
                best_loss, best = found.loss, within
            uphill = _of_length(scaled(found.gradient), radius)
            if uphill is None or step == steps:
                break
            within = _projected(_sum(within, uphill), radius)
            found = losses.at(_sum(center, scaled(within)))
    rise, error = (0.0, None) if best is None else rise_along(around, scaled(best))
    if not math.isfinite(at_center.loss):
        rise, error = math.nan, None
    details = {"radius": radius, "steps": steps, "restarts": restarts, "bound": "lower"}
    return Measured(measures={name: Measure(value=rise, error=error, details=details)})


def _of_length(vector: NamedTensors, length: float) -> dict[str, Tensor] | None:
    """The vector scaled to the length; None where it has no direction."""
    own = norm(vector)
    if not 0 < own < math.inf:
        return None
    return {key: tensor * (length / own) for key, tensor in vector.items()}


def _projected(vector: NamedTensors, radius: float) -> dict[str, Tensor]:
    own = norm(vector)
    return {key: tensor * min(1.0, radius / own) for key, tensor in vector.items()} if own > 0 else dict(vector)


def _sum(left: NamedTensors, right: NamedTensors) -> dict[str, Tensor]:
    return {key: tensor + right[key] for key, tensor in left.items()}
