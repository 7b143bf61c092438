"""One random direction for each layer: which of them the loss is sensitive to.

Each layer moves alone, along its part of a random direction that is scaled to its weights as Li et al. 2018 do it, so
that at α = 1 every layer has been changed by about its own norm. Compare Zhang, Bengio, Singer, "Are all layers created
equal?", JMLR 2022, who re-initialize one layer at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from slicer_core import slices
from slicer_core.choices import Ignore, Normalization
from slicer_core.errors import UsageError
from slicer_core.methods.method import CenterPoint, Method, SliceOptions, axis_settings, refuse_interpolation
from slicer_core.methods.random_direction import random_recipe, scaled_random_direction, zero_direction
from slicer_core.methods.slicer import Point, Slicer
from slicer_core.parameters import NamedTensors, norm, shapes_of, subset
from slicer_core.plan import PointBlock, SlicePlan, axis_values, grid_coefficients
from slicer_core.slices import Slice

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Layers(Method):
    """For each layer a curve θ₀ + α·d, where d is the random direction of `random1d` in that layer and zero elsewhere.

    A layer is a module with parameters of its own. One whose direction is zero everywhere, as that of a BatchNorm is
    with `--ignore biasbn`, has no curve.
    """

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        refuse_interpolation(options)
        parameters = center.varying(options)
        direction = scaled_random_direction(center, parameters, options, axis=0)
        parts = {layer: subset(direction, names) for layer, names in _by_layer(direction).items()}
        norms = {layer: norm(part) for layer, part in parts.items()}
        for layer, length in norms.items():
            if not math.isfinite(length):
                raise UsageError(f"layer {layer} has weights that are not finite, so no direction can be scaled to it")
        moving = [layer for layer, length in norms.items() if length > 0]
        if not moving:
            raise zero_direction("the direction of every layer is zero", options)
        ((points, low, high),) = axis_settings(options, grid=(51,), range=((-1.0, 1.0),))
        axis = slices.Axis(name="alpha", label="α of a layer's direction", values=axis_values(low, high, points))
        coefficients = grid_coefficients((axis,))
        shapes = shapes_of(parameters)
        return SlicePlan(
            slice_type="layer_directions",
            geometry="curves",
            axes=(axis,),
            blocks=tuple(
                PointBlock(directions=lambda part=parts[layer]: (part,), coefficients=coefficients) for layer in moving
            ),
            curves=tuple(
                slices.Curve(name=layer, layer=layer, shape=tuple(shapes[_largest(parts[layer])].shape))
                for layer in moving
            ),
            directions=tuple(
                slices.Direction(
                    name=layer,
                    recipe=random_recipe(options, 0, parts[layer]) | {"kind": "random_layer", "layer": layer},
                    norm=norms[layer],
                )
                for layer in moving
            ),
            notes=_left_out([layer for layer in _by_layer(parameters) if layer not in moving], options),
        )


class LayerSlicer(Slicer):
    """Slices of a wrapped model along one random direction for each layer."""

    def slice(
        self,
        center_point: Point | None = None,
        n_samples: int = 51,
        range: tuple[float, float] = (-1.0, 1.0),
        *,
        seed: int = 0,
        normalize: Normalization = "filter",
        ignore: Ignore = "biasbn",
        params: tuple[str, ...] = (),
    ) -> Slice:
        """A curve for each layer around `center_point` (default: the current parameters).

        `range` is in units of each layer's normalized direction.

        Raises:
            SlicerError: an argument does not fit the model or its data.
        """
        options = SliceOptions.given(1, n_samples, range, normalize=normalize, ignore=ignore, params=params, seed=seed)
        return self.take("layers", Layers(), center_point, options)


def _by_layer(vector: NamedTensors) -> dict[str, list[str]]:
    """Layer -> the names of its own tensors. The raw tensors of a parametrized weight belong to its module."""
    found: dict[str, list[str]] = {}
    for name in vector:
        owner = f".{name}".partition(".parametrizations.")[0] if ".parametrizations." in f".{name}" else None
        layer = name.rpartition(".")[0] if owner is None else owner.lstrip(".")
        found.setdefault(layer or name, []).append(name)
    return found


def _largest(vector: NamedTensors) -> str:
    shapes = shapes_of(vector)
    return max(shapes, key=lambda name: shapes[name].numel())


def _left_out(layers: list[str], options: SliceOptions) -> tuple[str, ...]:
    if not layers:
        return ()
    more = f" and {len(layers) - _SHOWN} more" if len(layers) > _SHOWN else ""
    return (
        f"no curve for {', '.join(layers[:_SHOWN])}{more}: nothing moves there with --normalize {options.normalize} "
        f"--ignore {options.ignore}",
    )
