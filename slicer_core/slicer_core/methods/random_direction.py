"""Slices along one or two random directions.

Li, Xu, Taylor, Studer, Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from slicer_core import slices
from slicer_core.choices import Ignore, Normalization
from slicer_core.directions import RECIPE, filter_layouts, normalize_direction, random_direction
from slicer_core.errors import UsageError
from slicer_core.methods.method import CenterPoint, Method, SliceOptions, axis_settings, refuse_interpolation
from slicer_core.methods.slicer import GridRange, GridSize, Point, Slicer
from slicer_core.methods.trajectory import planned_trajectory
from slicer_core.parameters import LazyTensors, NamedTensors, cosine_of, products, rows_of, shapes_of, subset
from slicer_core.plan import PointBlock, SlicePlan, axis_values, grid_coefficients
from slicer_core.slices import Slice

_MOST_REPEATS = 1000


@dataclass(frozen=True, kw_only=True)
class Random1D(Method):
    """θ₀ + α·d with one random direction; `repeats` - 1 more give a band."""

    repeats: int = 1

    def __post_init__(self) -> None:
        _check_repeats(self.repeats)

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        return _random_plan("random_direction_1d", center, options, num_axes=1, repeats=self.repeats)


@dataclass(frozen=True, kw_only=True)
class Random2D(Method):
    """θ₀ + α₀·d₀ + α₁·d₁ with two random directions, whose cosine is part of the result.

    `orthogonal` takes the projection on the first out of the second, after the normalization, and restores its norm.
    `repeats` - 1 more pairs give a band.
    """

    trajectory: bool = False
    orthogonal: bool = False
    repeats: int = 1

    def __post_init__(self) -> None:
        _check_repeats(self.repeats)

    @property
    def uses_path(self) -> bool:
        """Where it is shown."""
        return self.trajectory

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        return _random_plan(
            "random_direction_2d",
            center,
            options,
            num_axes=2,
            repeats=self.repeats,
            orthogonal=self.orthogonal,
            with_trajectory=self.trajectory,
        )


class RandomDirectionSlicer(Slicer):
    """Slices of a wrapped model along random directions."""

    def slice_1d(
        self,
        center_point: Point | None = None,
        n_samples: int = 51,
        range: tuple[float, float] = (-1.0, 1.0),
        *,
        seed: int = 0,
        normalize: Normalization = "filter",
        ignore: Ignore = "biasbn",
        params: tuple[str, ...] = (),
        repeats: int = 1,
    ) -> Slice:
        """Loss along one random direction around `center_point` (the model's current parameters if it is missing).

        `range` is in units of the normalized direction.

        Raises:
            SlicerError: an argument does not fit the model or its data.
        """
        options = SliceOptions.given(1, n_samples, range, normalize=normalize, ignore=ignore, params=params, seed=seed)
        return self.take("random1d", Random1D(repeats=repeats), center_point, options)

    def slice_2d(
        self,
        center_point: Point | None = None,
        grid_size: GridSize = 25,
        range: GridRange = (-1.0, 1.0),
        *,
        seed: int = 0,
        normalize: Normalization = "filter",
        ignore: Ignore = "biasbn",
        params: tuple[str, ...] = (),
        orthogonal: bool = False,
        repeats: int = 1,
    ) -> Slice:
        """Loss on the plane of two random directions around `center_point` (default: the current parameters).

        `grid_size` and `range` are the same for both axes, or a pair with one entry an axis.

        Raises:
            SlicerError: an argument does not fit the model or its data.
        """
        options = SliceOptions.given(
            2,
            grid_size,
            range,
            normalize=normalize,
            ignore=ignore,
            params=params,
            seed=seed,
        )
        return self.take("random2d", Random2D(orthogonal=orthogonal, repeats=repeats), center_point, options)


def _random_plan(
    slice_type: str,
    center: CenterPoint,
    options: SliceOptions,
    *,
    num_axes: int,
    repeats: int,
    orthogonal: bool = False,
    with_trajectory: bool = False,
) -> SlicePlan:
    refuse_interpolation(options)
    if repeats > 1 and center.preparation.settings.tolerance is not None:
        raise UsageError("--repeats and --tolerance can't be combined: give --samples to take fewer samples")
    parameters = center.varying(options)

    def directions(repeat: int) -> tuple[NamedTensors, ...]:
        first = num_axes * repeat
        vectors = [
            scaled_random_direction(center, parameters, options, axis=axis) for axis in range(first, first + num_axes)
        ]
        return (vectors[0], _orthogonal(*vectors)) if orthogonal else tuple(vectors)

    vectors = directions(0)
    squares = products(vectors)
    for axis in range(num_axes):
        _check_length(math.sqrt(squares[axis][axis]), options)
    settings = axis_settings(options, grid=(51,) * num_axes, range=((-1.0, 1.0),) * num_axes)
    axes = tuple(
        slices.Axis(
            name=f"direction_{index}", label=f"random direction {index + 1}", values=axis_values(low, high, points)
        )
        for index, (points, low, high) in enumerate(settings)
    )
    coefficients = grid_coefficients(axes)
    recipes = [random_recipe(options, axis, vector) for axis, vector in enumerate(vectors)]
    if orthogonal:
        recipes[1]["orthogonal_to"] = "direction_0"
    if repeats > 1:
        for axis, recipe in enumerate(recipes):
            recipe |= {"repeats": repeats, "axes": [num_axes * repeat + axis for repeat in range(repeats)]}
    return SlicePlan(
        slice_type=slice_type,
        geometry="curve" if num_axes == 1 else "grid",
        axes=axes,
        blocks=(PointBlock(directions=lambda: vectors, coefficients=coefficients),),
        directions=tuple(
            slices.Direction(
                name=f"direction_{axis}",
                recipe=recipe,
                norm=math.sqrt(squares[axis][axis]),
            )
            for axis, recipe in enumerate(recipes)
        ),
        cosine=cosine_of(squares) if num_axes == 2 else None,
        trajectory=planned_trajectory(center, vectors) if with_trajectory else None,
        repeats=tuple(
            PointBlock(directions=lambda repeat=repeat: directions(repeat), coefficients=coefficients)
            for repeat in range(1, repeats)
        ),
    )


def _orthogonal(first: NamedTensors, second: NamedTensors) -> NamedTensors:
    """The second without its projection on the first, scaled to the norm that it had.

    Raises:
        UsageError: nothing is left of it.
    """
    squares = products([first, second])
    slope = squares[0][1] / squares[0][0] if squares[0][0] > 0 else 0.0
    left = squares[1][1] - slope * squares[0][1]
    if not left > 1e-9 * squares[1][1]:
        raise UsageError(
            "--orthogonal: the two random directions are zero, not finite or parallel, so that no plane is left "
            f"(entries that may move: {sum(tensor.numel() for tensor in shapes_of(second).values())})"
        )
    scale = math.sqrt(squares[1][1] / left)

    def rows(name: str, start: int, stop: int) -> Tensor:
        own = rows_of(second, name, start, stop)
        other = rows_of(first, name, start, stop).to(own.device)
        return ((own.double() - slope * other.double()) * scale).to(own.dtype)

    lazy = LazyTensors({name: like.to("meta") for name, like in shapes_of(second).items()}, rows)
    return lazy if isinstance(second, LazyTensors) else dict(lazy)


def scaled_random_direction(
    center: CenterPoint, parameters: NamedTensors, options: SliceOptions, *, axis: int
) -> NamedTensors:
    """The random direction of that number in these parameters, as `--normalize`, `--ignore` and `--seed` have it."""
    return normalize_direction(
        random_direction(parameters, seed=options.seed, axis=axis),
        subset(center.scale_state, list(parameters)),
        normalization=options.normalize,
        ignore=options.ignore,
        layouts=filter_layouts(center.wrapper.model),
    )


def _check_repeats(repeats: object) -> None:
    if isinstance(repeats, bool) or not isinstance(repeats, int) or not 1 <= repeats <= _MOST_REPEATS:
        raise UsageError(f"--repeats {repeats} is not a number of random directions from 1 to {_MOST_REPEATS}")


def _check_length(length: float, options: SliceOptions) -> None:
    if not math.isfinite(length):
        raise UsageError("the center has weights that are not finite, so no random direction can be scaled to them")
    if not length > 0:
        raise zero_direction("the random direction is zero everywhere", options)


def zero_direction(what: str, options: SliceOptions) -> UsageError:
    """The error for a direction of which normalization leaves nothing."""
    return UsageError(
        f"{what} with --normalize {options.normalize} --ignore {options.ignore}: the parameters that may vary are all "
        "zero, or of one dimension (give --ignore none)"
    )


def random_recipe(options: SliceOptions, axis: int, vector: NamedTensors) -> dict[str, Any]:
    """How such a direction is made, for the header of a slice."""
    recipe: dict[str, Any] = {
        "kind": "random",
        "generator": RECIPE,
        "seed": options.seed,
        "axis": axis,
        "normalize": options.normalize,
        "ignore": options.ignore,
        "tensors": len(vector),
        "entries": sum(tensor.numel() for tensor in shapes_of(vector).values()),
    }
    raw = [name for name in vector if ".parametrizations." in f".{name}"]
    if raw:
        recipe["raw_tensors"] = raw
    return recipe
