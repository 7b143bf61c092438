"""The norm of the loss' gradient at every point of a slice: where it is small, training moves slowly.

Li, Xu, Taylor, Studer, Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS 2018, relate the shape of a
slice to how well gradients lead across it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from slicer_core.evaluate.batchnorm import recomputed_statistics, running_statistics
from slicer_core.measures.gradient import LossGradient
from slicer_core.measures.surroundings import Measured, Surroundings
from slicer_core.parameters import norm
from slicer_core.slices import Measure, SliceArray


def gradient_norm(around: Surroundings) -> Measured:
    """‖∇L‖ over all parameters that are not frozen, in the units of the loss over those of the parameters.

    An array `gradient_norm` with a value at each point; the measure is that at the center. The gradient is of the loss
    that the slice shows there, weight decay and recomputed BatchNorm included. No error: it is the gradient of these
    samples. One backward pass over the split for each point.
    """
    gradients = LossGradient(around)
    values = np.array([norm(gradients.at(point).gradient) for point in _points(around, gradients)])
    array = SliceArray(name="gradient_norm", split=around.split, role="value", values=values.reshape(around.plan.shape))
    at_center = norm(gradients.at({}).gradient)
    return Measured(measures={"gradient_norm": Measure(value=at_center)}, arrays=(array,))


def _points(around: Surroundings, gradients: LossGradient) -> Iterator[dict[str, Tensor]]:
    """Of each point the tensors that are not the center's."""
    for block in around.plan.blocks:
        directions = [
            {name: tensor.to(gradients.center[name]) for name, tensor in direction.items()}
            for direction in block.directions()
        ]
        statistics: list[dict[str, Tensor]] = [{}] * len(block.coefficients)
        if around.batchnorm == "recompute" and running_statistics(around.wrapper.model):
            with around.wrapper.evaluating():
                statistics = recomputed_statistics(
                    gradients.objective, gradients.center, (block,), gradients.recompute_batches
                )
        for coefficients, buffers in zip(block.coefficients.tolist(), statistics, strict=True):
            point = dict(buffers)
            for coefficient, direction in zip(coefficients, directions, strict=True):
                for name, tensor in direction.items():
                    # Where nothing moves, a direction that is not finite moves nothing either.
                    if coefficient:
                        point[name] = point.get(name, gradients.center[name]) + coefficient * tensor
            yield point
            around.advance(1.0)
