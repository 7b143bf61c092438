"""The loss along a curve between two checkpoints that was trained to stay low, beside the straight line's.

Garipov, Izmailov, Podoprikhin, Vetrov, Wilson, "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS
2018; Draxler, Veschgini, Salmhofer, Hamprecht, "Essentially no barriers in neural network energy landscape", ICML 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from slicer_core import slices
from slicer_core.choices import BatchNormPolicy
from slicer_core.connectivity import CURVES, CurveTraining, train_control
from slicer_core.connectivity.curve import training_batches
from slicer_core.errors import UsageError
from slicer_core.evaluate.gradient import DifferentiableLoss
from slicer_core.methods.line_barrier import line_barrier
from slicer_core.methods.linear import Linear, line_plan
from slicer_core.methods.method import CenterPoint, Method, SliceOptions, axis_settings
from slicer_core.methods.preparation import Made, refuse_lazy
from slicer_core.methods.slicer import Point, Slicer, full_state
from slicer_core.parameters import NamedTensors, difference, norm, subset
from slicer_core.plan import PointBlock, SlicePlan, axis_values
from slicer_core.slices import Slice

_RANGE = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Bezier(Method):
    """θ(t) with both checkpoints at its ends, t = 0 and t = 1, and a trained point in between; see `CurveTraining`."""

    to: str = "last"
    curve: str = "bezier"
    train_steps: int = 500
    learning_rate: float = 0.01
    train_batch: int = 128
    default_batchnorm = "recompute"
    reads_first_split = True

    def __post_init__(self) -> None:
        self._training(0)

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        return curve_plan(center, center.other(self.to), options, self._training(options.seed), to=self.to)

    def references(self) -> Sequence[str]:
        """The end of the curve."""
        return (self.to,)

    def steps_to_skip(self, steps: Sequence[int]) -> Mapping[int, str]:
        """The checkpoint that the curve leads to, among others."""
        return Linear(to=self.to).steps_to_skip(steps)

    def _training(self, seed: int) -> CurveTraining:
        return CurveTraining(
            curve=self.curve,
            steps=self.train_steps,
            learning_rate=self.learning_rate,
            batch_size=self.train_batch,
            seed=seed,
        )


class BezierSlicer(Slicer):
    """Slices of a wrapped model along a low-loss curve between two points."""

    def slice(
        self,
        start_point: Point | None = None,
        end_point: Point | None = None,
        n_samples: int = 51,
        *,
        training: CurveTraining | None = None,
        params: tuple[str, ...] = (),
        batchnorm: BatchNormPolicy = "recompute",
    ) -> Slice:
        """Loss along the curve from `start_point` (default: the current parameters) to `end_point`.

        Raises:
            SlicerError: `end_point` is missing, or an argument does not fit the model or its data.
        """
        if end_point is None:
            raise UsageError("end_point is missing: give named tensors, for example those of another training")
        chosen = training or CurveTraining()
        method = _GivenEnd(end=full_state(self.wrapper, end_point, "end_point"), training=chosen)
        options = SliceOptions.given(1, n_samples, params=params, seed=chosen.seed, batchnorm=batchnorm)
        return self.take("bezier", method, start_point, options)


@dataclass(frozen=True, kw_only=True)
class _GivenEnd(Method):
    """A curve to a state that is at hand."""

    end: NamedTensors = field(repr=False)
    training: CurveTraining

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        return curve_plan(center, self.end, options, self.training, to="given")


def curve_plan(
    center: CenterPoint, end: NamedTensors, options: SliceOptions, training: CurveTraining, *, to: str
) -> SlicePlan:
    """The points of the curve from the center to `end`, whose point in between is trained or was kept.

    Raises:
        UsageError: the ends are equal, or the range leaves [0, 1].
        ConvergenceError: see `train_control`.
    """
    if options.batchnorm == "interpolate":
        raise UsageError("--batchnorm interpolate is for straight lines: give recompute or frozen")
    ((points, low, high),) = axis_settings(options, grid=(51,), range=(_RANGE,))
    if low < 0 or high > 1:
        raise UsageError(f"--range {low:g}:{high:g} leaves the curve, which goes from 0 to 1: give a range within 0:1")
    refuse_lazy(center.state, "a curve's training")
    refuse_lazy(end, "a curve's training")
    line = line_plan(center, end, replace(options, range=(_RANGE,)), {"kind": "difference", "to": to})
    start = subset(center.state, center.movable(options))
    target = {name: end[name].to(start[name]) for name in start}
    made = _made(center, start, target, line, options, training)
    (control,) = made.vectors
    arms = (difference(control, start), difference(target, start))
    axis = slices.Axis(name="t", label="t", values=axis_values(low, high, points, anchors=_RANGE))
    coefficients = np.array([CURVES[training.curve](float(t)) for t in axis.values])
    recipe = {"kind": "curve", "to": to, "optimizer": "adam", "points": "golden ratio", **asdict(training)}
    return SlicePlan(
        slice_type="bezier_curve",
        geometry="curve",
        axes=(axis,),
        blocks=(PointBlock(directions=lambda: arms, coefficients=coefficients),),
        directions=(
            slices.Direction(name="control", recipe=recipe, norm=norm(arms[0])),
            slices.Direction(name="end", recipe={"kind": "difference", "to": to}, norm=norm(arms[1])),
        ),
        markers=line.markers,
        measures={"straight_barrier": slices.Measure(**made.facts["straight_barrier"])}
        if "straight_barrier" in made.facts
        else {},
        notes=(
            f"the curve's training takes {training.steps} gradients of a batch at each checkpoint, which are not "
            "counted here",
        )
        if center.preparation.rehearsal
        else (),
    )


def _made(
    center: CenterPoint,
    start: NamedTensors,
    target: NamedTensors,
    line: SlicePlan,
    options: SliceOptions,
    training: CurveTraining,
) -> Made:
    """The control point, and the barrier of the straight line between the ends."""
    preparation, wrapper = center.preparation, center.wrapper
    if preparation.rehearsal:
        return Made(vectors=({name: (start[name] + target[name]) / 2 for name in start},), facts={})

    def make() -> Made:
        preparation.begin("training the curve", training.steps)
        data = wrapper.split(wrapper.splits[0], preparation.settings.batch_size, preparation.settings.samples)
        loss = DifferentiableLoss(wrapper, data, center.state, list(start), settings=preparation.settings)
        control = train_control(
            loss,
            start,
            target,
            training,
            training_batches(wrapper, data, training),
            advance=preparation.advance,
        )
        facts: dict[str, Any] = {"straight_barrier": line_barrier(center, line, options)}
        return Made(vectors=(control,), facts=facts)

    return preparation.kept("curve", make)
