"""Curves between two points of parameter space with one point in between, which is trained so that the loss stays low.

Garipov, Izmailov, Podoprikhin, Vetrov, Wilson, "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS
2018, sections 3.1 and 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from slicer_core.errors import ConvergenceError, UsageError
from slicer_core.evaluate.gradient import DifferentiableLoss
from slicer_core.parameters import NamedTensors
from slicer_core.philox import random_order
from slicer_core.subject import Batch, ModelWrapper, SplitData, subset

Curve = Callable[[float], tuple[float, float]]
"""t -> (a, b) with θ(t) = θ₀ + a·(θ_c - θ₀) + b·(θ₁ - θ₀)."""


def bezier(t: float) -> tuple[float, float]:
    """θ(t) = (1-t)²θ₀ + 2t(1-t)θ_c + t²θ₁."""
    return 2 * t * (1 - t), t * t


def polychain(t: float) -> tuple[float, float]:
    """Straight from θ₀ to θ_c for t up to ½, and from there to θ₁."""
    return (2 * t, 0.0) if t <= 0.5 else (2 - 2 * t, 2 * t - 1)


CURVES: Mapping[str, Curve] = {"bezier": bezier, "polychain": polychain}

_LARGEST_RATE = 1000.0
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class CurveTraining:
    """The budget of a training, and all that its result depends on besides the data and the ends.

    Raises:
        UsageError: a value can't be used.
    """

    curve: str = "bezier"
    steps: int = 500
    learning_rate: float = 0.01
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if self.curve not in CURVES:
            raise UsageError(f"--curve {self.curve!r} is not one of {', '.join(CURVES)}")
        if self.steps < 0:
            raise UsageError(f"--train-steps {self.steps} is not a number of steps: give 0 or more")
        if not 0.0 < self.learning_rate <= _LARGEST_RATE:
            raise UsageError(f"--learning-rate {self.learning_rate:g} is not a positive number up to {_LARGEST_RATE:g}")
        if self.batch_size < 1:
            raise UsageError(f"--train-batch {self.batch_size} is not a number of samples: give 1 or more")


def train_control(
    loss: DifferentiableLoss,
    start: NamedTensors,
    end: NamedTensors,
    training: CurveTraining,
    batches: Iterator[Batch],
    *,
    advance: Callable[[float], None],
) -> dict[str, Tensor]:
    """θ_c after `steps` steps of Adam on the loss of one batch at one t each, from the middle of the line.

    ∂L/∂θ_c is the gradient at θ(t) times a(t). The t are t_k = frac(½ + k·φ) with φ the golden ratio's fraction, which
    covers [0, 1] more evenly than random ones. BatchNorm takes the batch's own statistics, as in training.
    `start` and `end` have the parameters that move; `advance` is called with 1 after each step.

    Raises:
        ConvergenceError: the training came to weights that are not finite.
    """
    control = {name: ((start[name] + end[name].to(start[name])) / 2).clone() for name in start}
    optimizer = torch.optim.Adam(control.values(), lr=training.learning_rate)
    curve = CURVES[training.curve]
    for step in range(training.steps):
        a, b = curve((0.5 + step * _GOLDEN) % 1.0)
        loss.move_to(
            {
                name: tensor + a * (control[name] - tensor) + b * (end[name].to(tensor) - tensor)
                for name, tensor in start.items()
            }
        )
        _, gradient = loss.batch_gradient(next(batches), batch_statistics=True)
        for name, tensor in control.items():
            tensor.grad = gradient[name].to(tensor) * a
        optimizer.step()
        advance(1.0)
    if not all(torch.isfinite(tensor).all() for tensor in control.values()):
        raise ConvergenceError(
            "the curve's training came to weights that are not finite: the loss between the ends overflows, or "
            f"--learning-rate {training.learning_rate:g} is too large"
        )
    return {name: tensor.detach() for name, tensor in control.items()}


def training_batches(wrapper: ModelWrapper, data: SplitData, training: CurveTraining) -> Iterator[Batch]:
    """Batches without end: samples in an order that is drawn anew for each epoch, a pure function of the seed.

    Where the loss couples the samples of a batch, or the data fits one batch, the user's own batches in turn.
    """
    epoch = 0
    while True:
        if wrapper.batch_coupled or training.batch_size >= data.num_samples:
            yield from data.batches()
            continue
        order = random_order(f"{training.seed}/curve/{epoch}", data.num_samples)
        for low in range(0, data.num_samples, training.batch_size):
            part = order[low : low + training.batch_size]
            yield from subset(data, part, batch_size=training.batch_size).batches()
        epoch += 1
