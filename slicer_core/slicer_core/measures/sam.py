"""Sharpness as sharpness-aware minimization sees it: the loss after one step of a given length up the gradient.

Foret, Kleiner, Mobahi, Neyshabur, "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021,
equation 2.
"""

from __future__ import annotations

from slicer_core.measures.gradient import LossGradient
from slicer_core.measures.rise import rise_along
from slicer_core.measures.surroundings import Measured, Surroundings
from slicer_core.parameters import norm
from slicer_core.slices import Measure

RADIUS = 0.05
"""ρ of the paper's experiments on CIFAR-10."""


def sam_sharpness(around: Surroundings, *, radius: float = RADIUS) -> Measured:
    """L(θ₀ + ρ·g/‖g‖) - L(θ₀) with the gradient g of the whole split at θ₀, in the units of the loss.

    The error is the paired standard error of the difference, with g as it is. NaN where the gradient is zero or not
    finite. `details`: ρ (`radius`) and ‖g‖. One gradient pass over all parameters that are not frozen.
    """
    gradient = LossGradient(around).at({}).gradient
    length = norm(gradient)
    details = {"radius": radius, "gradient_norm": length}
    if not 0 < length < float("inf"):
        return Measured(measures={"sam_sharpness": Measure(value=float("nan"), details=details)})
    step = {name: part * (radius / length) for name, part in gradient.items()}
    rise, error = rise_along(around, step)
    return Measured(measures={"sam_sharpness": Measure(value=rise, error=error, details=details)})
