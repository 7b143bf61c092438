"""The straight line between two points of parameter space.

Goodfellow, Vinyals, Saxe, "Qualitatively characterizing neural network optimization problems", ICLR 2015.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slicer_core import slices
from slicer_core.directions import RECIPE, filter_layouts, normalize_direction, random_direction
from slicer_core.errors import UsageError
from slicer_core.evaluate import running_statistics
from slicer_core.methods.method import CenterPoint, Method, SliceOptions, axis_settings
from slicer_core.methods.slicer import Point, Slicer, full_state
from slicer_core.parameters import (
    NamedTensors,
    added,
    cosine_of,
    difference,
    merged,
    norm,
    products,
    shapes_of,
    subset,
)
from slicer_core.plan import PlannedMarker, PointBlock, SlicePlan, axis_values, grid_coefficients
from slicer_core.slices import Slice

ALIGNMENTS = ("none", "weights")
_DEFAULT_RANGE = (-0.5, 1.5)


@dataclass(frozen=True, kw_only=True)
class Linear(Method):
    """θ(α) = θ₀ + α·(θ₁ - θ₀), with α = 0 and α = 1 exactly on the grid where the range has them inside.

    All parameters move, frozen ones included. `to`: first, last, random (θ₀ plus a normalized random direction), or
    the path of a checkpoint. `align`: none, or weights to permute the units of the end first, so that they match.
    """

    to: str = "last"
    align: str = "none"
    default_batchnorm = "recompute"

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        if self.align == "weights":
            return _aligned(center, self._other_network(center), options, {"kind": "difference", "to": self.to})
        if self.to == "random":
            return line_plan(center, _random_end(center, options), options, _random_recipe(options))
        return line_plan(center, center.other(self.to), options, {"kind": "difference", "to": self.to})

    def __post_init__(self) -> None:
        if self.align not in ALIGNMENTS:
            raise UsageError(f"--align {self.align!r} is not one of {', '.join(ALIGNMENTS)}")

    def _other_network(self, center: CenterPoint) -> NamedTensors:
        if self.to == "random":
            raise UsageError("--align weights needs another trained network, not --to random: give a checkpoint")
        return center.other(self.to)

    def references(self) -> Sequence[str]:
        """The end of the line, unless it is made from the center."""
        return () if self.to == "random" else (self.to,)

    def steps_to_skip(self, steps: Sequence[int]) -> Mapping[int, str]:
        """The checkpoint that the line leads to, among others."""
        ends = {"first": min(steps), "last": max(steps)}
        if len(steps) > 1 and self.to in ends:
            return {ends[self.to]: f"it is the end of the line (--to {self.to})"}
        return {}


class LinearInterpolationSlicer(Slicer):
    """Slices of a wrapped model along the line between two points."""

    def slice(
        self,
        start_point: Point | None = None,
        end_point: Point | None = None,
        n_samples: int = 51,
        range: tuple[float, float] = _DEFAULT_RANGE,
        *,
        params: tuple[str, ...] = (),
        align: str = "none",
    ) -> Slice:
        """Loss along the line from `start_point` (default: the current parameters) at 0 to `end_point` at 1.

        `align`: "weights" permutes the units of `end_point` first, so that they match those of the start.

        Raises:
            SlicerError: `end_point` is missing, or an argument does not fit the model or its data.
        """
        if end_point is None:
            raise UsageError("end_point is missing: give named tensors, for example wrapper.get_random_parameters(0.1)")
        end = full_state(self.wrapper, end_point, "end_point")
        options = SliceOptions.given(1, n_samples, range, params=params, batchnorm="frozen")
        return self.take("linear", _GivenEnd(end, Linear(align=align).align), start_point, options)


class _GivenEnd(Method):
    """A line to a state that is at hand."""

    def __init__(self, end: NamedTensors, align: str) -> None:
        self._end = end
        self._align = align

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        plan = line_plan if self._align == "none" else _aligned
        return plan(center, self._end, options, {"kind": "difference", "to": "given"})


def _aligned(center: CenterPoint, end: NamedTensors, options: SliceOptions, recipe: Mapping[str, Any]) -> SlicePlan:
    from slicer_core.methods.alignment import aligned_line_plan

    return aligned_line_plan(center, end, options, recipe)


def line_plan(
    center: CenterPoint,
    end: NamedTensors,
    options: SliceOptions,
    recipe: Mapping[str, Any],
    *,
    may_be_equal: bool = False,
) -> SlicePlan:
    """The points of the line from the center to `end`.

    Raises:
        UsageError: the ends are equal, or buffers are to be interpolated outside of [0, 1].
    """
    chosen = center.movable(options)
    start = subset(center.state, chosen)
    vector = difference(end, start)
    length = norm(vector)
    if not math.isfinite(length):
        raise UsageError(
            "one end of the line has weights that are not finite: give another --to, or leave the step out"
        )
    if not (length > 0 or may_be_equal):
        raise UsageError("both ends of the line are the same point: give another --to")
    ((points, low, high),) = axis_settings(options, grid=(51,), range=(_DEFAULT_RANGE,))
    moved = merged(vector, _buffers_along(center, end, options, low, high))
    axis = slices.Axis(name="alpha", label="α", values=axis_values(low, high, points, anchors=(0.0, 1.0)))
    reached = merged(center.state, subset(end, chosen), _buffers(center, end))
    return SlicePlan(
        slice_type="linear_interpolation",
        geometry="curve",
        axes=(axis,),
        blocks=(PointBlock(directions=lambda: (moved,), coefficients=grid_coefficients((axis,))),),
        directions=(slices.Direction(name="alpha", recipe={**recipe, "ends": _ends(start, end, vector)}, norm=length),),
        markers=(
            PlannedMarker(name="start", coordinates=(0.0,), state=center.state),
            PlannedMarker(name="end", coordinates=(1.0,), state=reached),
        ),
    )


def _ends(start: NamedTensors, end: NamedTensors, vector: NamedTensors) -> dict[str, Any]:
    """How far apart the ends are: both norms, their cosine, and each layer's share of the squared distance."""
    ends = products([start, subset(end, list(start))])
    whole = norm(vector) ** 2
    layers: dict[str, float] = {}
    for name in shapes_of(vector):
        layer = name.rpartition(".")[0] or name
        layers[layer] = layers.get(layer, 0.0) + (norm(subset(vector, [name])) ** 2 / whole if whole else 0.0)
    return {
        "norm_start": math.sqrt(ends[0][0]),
        "norm_end": math.sqrt(ends[1][1]),
        "cosine": cosine_of(ends),
        "layers": layers,
    }


def _buffers(center: CenterPoint, end: NamedTensors) -> NamedTensors:
    parameters = {name for name, _ in center.wrapper.model.named_parameters()}
    return subset(end, [name for name in center.state if name not in parameters])


def _buffers_along(
    center: CenterPoint, end: NamedTensors, options: SliceOptions, low: float, high: float
) -> NamedTensors:
    if options.batchnorm != "interpolate" or not running_statistics(center.wrapper.model):
        return {}
    if low < 0 or high > 1:
        raise UsageError(
            f"--batchnorm interpolate is for ranges within 0:1, not {low:g}:{high:g}: beyond its ends an interpolated "
            "variance turns negative. Give --range 0:1, or --batchnorm recompute"
        )
    shapes = shapes_of(center.state)
    floating = [name for name in _buffers(center, end) if shapes[name].is_floating_point()]
    return difference(end, subset(center.state, floating))


def _random_end(center: CenterPoint, options: SliceOptions) -> NamedTensors:
    parameters = center.varying(options)
    step = normalize_direction(
        random_direction(parameters, seed=options.seed, axis=0),
        subset(center.scale_state, list(parameters)),
        normalization=options.normalize,
        ignore=options.ignore,
        layouts=filter_layouts(center.wrapper.model),
    )
    return merged(center.state, added(subset(center.state, list(step)), step))


def _random_recipe(options: SliceOptions) -> dict[str, Any]:
    return {
        "kind": "random",
        "generator": RECIPE,
        "seed": options.seed,
        "axis": 0,
        "normalize": options.normalize,
        "ignore": options.ignore,
    }
