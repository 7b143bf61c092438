"""How much the loss rises from the center to another point, with the paired error of that."""

from __future__ import annotations

import math

import numpy as np

from slicer_core.evaluate import WeightDecay, evaluate
from slicer_core.measures.surroundings import Surroundings
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS


def rise_along(around: Surroundings, step: NamedTensors) -> tuple[float, float | None]:
    """L(θ₀ + step) - L(θ₀) and its paired standard error, None where one sample is all there is.

    Raises:
        SlicerError: see `evaluate`.
    """
    block = PointBlock(directions=lambda: (step,), coefficients=np.ones((1, 1)))
    sums = evaluate(around.wrapper, around.data, (block,), around.state, settings=around.settings).sums[LOSS]
    rise = float(sums.values[0]) - sums.center_value
    strength = around.settings.weight_decay
    if strength:
        decay = WeightDecay.of(around.wrapper.model, strength)
        rise += float(decay.along(around.state, (block,))[0]) - decay.at(around.state)
    error = float(sums.difference_stderr[0])
    return rise, error if math.isfinite(error) else None
