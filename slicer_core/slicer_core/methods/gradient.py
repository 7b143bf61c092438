"""The direction in which a training goes at a checkpoint: the negative gradient, the last update, or Adam's step.

Xing, Arpit, Tsirigotis, Bengio, "A walk with SGD", 2018, look at the loss between updates in this way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slicer_core import slices
from slicer_core.checkpoints import AdamMoments, Checkpoint, adam_moments, optimizer_files
from slicer_core.errors import CheckpointError, UsageError
from slicer_core.evaluate.gradient import DifferentiableLoss
from slicer_core.methods.method import CenterPoint, Method, SliceOptions, axis_settings, refuse_interpolation
from slicer_core.methods.preparation import Made, refuse_lazy
from slicer_core.methods.slicer import Point, Slicer
from slicer_core.parameters import NamedTensors, difference, norm, shapes_of, subset
from slicer_core.plan import PointBlock, SlicePlan, axis_values, grid_coefficients
from slicer_core.slices import Slice

_LABELS = {
    "gradient": "learning rate of a gradient step",
    "update": "updates since the checkpoint before",
    "adam": "learning rate of an Adam step",
}
_REACH = {"gradient": 1.0, "update": 1.0, "adam": 0.01}


@dataclass(frozen=True, kw_only=True)
class Gradient(Method):
    """θ₀ + α·d.

    `along`: "gradient" has d = -∇L of the whole split, so that α is the learning rate of a plain gradient step.
    "update" has d = θ₀ - θ of the checkpoint before, which lies at α = -1. "adam" has the step that Adam's saved
    moments make, with learning rate α and without weight decay.
    """

    along: str = "gradient"

    def __post_init__(self) -> None:
        if self.along not in _LABELS:
            raise UsageError(f"--along {self.along!r} is not one of {', '.join(_LABELS)}")

    @property
    def uses_path(self) -> bool:
        """The checkpoint before is on it."""
        return self.along == "update"

    def files_of(self, checkpoint: Checkpoint) -> Sequence[Path]:
        """The optimizer's state beside the weights."""
        return optimizer_files(checkpoint) if self.along == "adam" else ()

    def path_read(self, checkpoints: Sequence[Checkpoint], around: Checkpoint) -> Sequence[Checkpoint]:
        """The one before."""
        before = [checkpoint for checkpoint in checkpoints if checkpoint.step < around.step]
        return before[-1:] if self.uses_path else ()

    def steps_to_skip(self, steps: Sequence[int]) -> Mapping[int, str]:
        """The first checkpoint, among others, has had no update."""
        if self.along == "update" and len(steps) > 1:
            return {min(steps): "there is no checkpoint before it (--along update)"}
        return {}

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        refuse_interpolation(options)
        vector, facts = {"gradient": _gradient, "update": _update, "adam": _adam}[self.along](center, options)
        length = norm(vector)
        if not math.isfinite(length):
            raise UsageError(f"the direction --along {self.along} is not finite at this checkpoint: leave the step out")
        if not length > 0:
            raise UsageError(f"the direction --along {self.along} is zero at this checkpoint: leave the step out")
        reach = _REACH[self.along]
        ((points, low, high),) = axis_settings(options, grid=(51,), range=((-reach, reach),))
        axis = slices.Axis(name="alpha", label=_LABELS[self.along], values=axis_values(low, high, points))
        return SlicePlan(
            slice_type="gradient_1d",
            geometry="curve",
            axes=(axis,),
            blocks=(PointBlock(directions=lambda: (vector,), coefficients=grid_coefficients((axis,))),),
            directions=(slices.Direction(name="alpha", recipe={"kind": self.along} | facts, norm=length),),
        )


class GradientSlicer(Slicer):
    """Slices of a wrapped model along its negative gradient."""

    def slice(
        self,
        center_point: Point | None = None,
        n_samples: int = 51,
        range: tuple[float, float] = (-1.0, 1.0),
        *,
        params: tuple[str, ...] = (),
    ) -> Slice:
        """Loss along the negative gradient around `center_point` (default: the current parameters).

        `range` is in learning rates: θ₀ - α·∇L.

        Raises:
            SlicerError: an argument does not fit the model or its data.
        """
        options = SliceOptions.given(1, n_samples, range, params=params)
        return self.take("gradient", Gradient(), center_point, options)


def _gradient(center: CenterPoint, options: SliceOptions) -> tuple[NamedTensors, dict[str, Any]]:
    refuse_lazy(center.state, "the gradient")
    names = list(center.varying(options))
    preparation, wrapper = center.preparation, center.wrapper
    if preparation.rehearsal:
        return {name: torch.ones_like(center.state[name]) for name in names}, {}

    def make() -> Made:
        loss = DifferentiableLoss(
            wrapper, preparation.data(wrapper), center.state, names, settings=preparation.settings
        )
        value, gradient = loss.gradient()
        downhill = {name: -part.to(center.state[name]) for name, part in gradient.items()}
        return Made(vectors=(downhill,), facts={"loss": value})

    made = preparation.kept("gradient", make)
    split = preparation.split or wrapper.splits[0]
    return made.vectors[0], {"split": split, "loss": made.facts["loss"], "gradient_norm": norm(made.vectors[0])}


def _update(center: CenterPoint, options: SliceOptions) -> tuple[NamedTensors, dict[str, Any]]:
    before = [point for point in center.path if center.checkpoint and point.step < center.checkpoint.step]
    if not before:
        raise UsageError("--along update needs a checkpoint before this one: give more --checkpoints, or a later step")
    start = subset(before[-1].open(), center.movable(options))
    return difference(center.state, start), {"from_step": before[-1].step}


def _adam(center: CenterPoint, options: SliceOptions) -> tuple[NamedTensors, dict[str, Any]]:
    if center.checkpoint is None:
        raise UsageError("--along adam reads the optimizer's state of a checkpoint, and there is none here")
    shapes = shapes_of(center.state)
    trained = {name: tuple(shapes[name].shape) for name in center.wrapper.varying_names()}
    moments = adam_moments(center.checkpoint, trained, _layer_norms(center.wrapper.model))
    names = [name for name in center.varying(options) if name in moments]
    if not names:
        raise CheckpointError("Adam's saved moments are of none of the parameters that may vary")
    vector = {name: adam_step(moments[name]).to(center.state[name]) for name in names}
    return vector, {
        "optimizer_step": max(moments[name].step for name in names),
        "matched_by": moments[names[0]].matched_by,
    }


def _layer_norms(model: nn.Module) -> set[str]:
    norms = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.LayerNorm)]
    return {f"{name}.{own}".lstrip(".") for name, part in norms for own, _ in part.named_parameters()}


def adam_step(moments: AdamMoments) -> Tensor:
    """-m̂/(√v̂ + ε) with m̂ = m/(1 - β₁ᵗ), v̂ = v/(1 - β₂ᵗ), float64: Kingma, Ba, "Adam", ICLR 2015, algorithm 1.

    Raises:
        CheckpointError: the optimizer has not made a step.
    """
    if moments.step < 1:
        raise CheckpointError("Adam has not made a step at this checkpoint, so its moments say nothing: leave it out")
    first, second = moments.betas
    mean = moments.exp_avg.double() / (1 - first**moments.step)
    square = moments.exp_avg_sq.double() / (1 - second**moments.step)
    return -mean / (square.sqrt() + moments.eps)
