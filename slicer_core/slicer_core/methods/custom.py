"""Along directions of the user's own, from a safetensors file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slicer_core import slices
from slicer_core.checkpoints import open_safetensors
from slicer_core.errors import CheckpointError, UsageError, suggestion
from slicer_core.methods.method import CenterPoint, Method, SliceOptions, axis_settings, refuse_interpolation
from slicer_core.methods.slicer import GridRange, GridSize, Point, Slicer
from slicer_core.methods.trajectory import planned_trajectory
from slicer_core.parameters import LazyTensors, NamedTensors, cosine_of, products, rows_of, shapes_of, wide_enough
from slicer_core.plan import PointBlock, SlicePlan, axis_values, grid_coefficients
from slicer_core.slices import Slice

_PREFIXES = ("direction_0/", "direction_1/")
_PARALLEL = 1e-6


@dataclass(frozen=True, kw_only=True)
class Custom(Method):
    """θ₀ + Σ αₖ·dₖ with one or two directions, used as they are.

    `directions`: a safetensors file with tensors `direction_0/NAME` and, for a grid, `direction_1/NAME`. A parameter
    that is not named there stays.
    """

    directions: str = ""
    trajectory: bool = False

    @property
    def num_axes(self) -> int:
        """As many as the file has directions."""
        return len(_read(self.directions))

    @property
    def uses_path(self) -> bool:
        """Where it is shown."""
        return self.trajectory

    def files(self) -> Sequence[str]:
        """The directions."""
        return (self.directions,)

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        given = _read(self.directions)
        return custom_plan(center, given, options, self.directions, with_trajectory=self.trajectory)


class CustomSlicer(Slicer):
    """Slices of a wrapped model along given directions."""

    def slice(
        self,
        directions: Sequence[Point],
        center_point: Point | None = None,
        grid_size: GridSize = 51,
        range: GridRange = (-1.0, 1.0),
    ) -> Slice:
        """Loss along one direction, or on the plane of two, around `center_point` (default: the current parameters).

        Raises:
            SlicerError: a direction does not fit the model or is zero, or there are not one or two.
        """
        if not 1 <= len(directions) <= len(_PREFIXES):
            raise UsageError(f"{len(directions)} directions are given: give one or two")
        options = SliceOptions.given(len(directions), grid_size, range)
        return self.take("custom", _GivenDirections(directions), center_point, options)


class _GivenDirections(Method):
    """Directions that are at hand."""

    def __init__(self, directions: Sequence[Mapping[str, Tensor]]) -> None:
        self._directions = directions

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        return custom_plan(center, self._directions, options, "given")


def custom_plan(
    center: CenterPoint,
    given: Sequence[NamedTensors],
    options: SliceOptions,
    source: str,
    *,
    with_trajectory: bool = False,
) -> SlicePlan:
    """The points of the line or the plane of the directions; `source` says where they are from.

    Raises:
        UsageError: a name or shape is not the model's, or a direction is zero, not finite or along the other.
    """
    refuse_interpolation(options)
    movable = center.parameters()
    for number, direction in enumerate(given):
        _check_fit(direction, center, movable, f"{source}: direction_{number}")
    vectors = tuple(_in_the_models_dtype(direction, center) for direction in given)
    squares = products(vectors)
    lengths = [math.sqrt(squares[index][index]) for index in range(len(vectors))]
    for number, length in enumerate(lengths):
        if not math.isfinite(length):
            raise UsageError(f"{source}: direction_{number} has entries that are not finite")
        if not length > 0:
            raise UsageError(f"{source}: direction_{number} is zero everywhere")
    cosine = cosine_of(squares) if len(vectors) == 2 else None
    if cosine is not None and 1 - abs(cosine) < _PARALLEL**2 / 2:
        raise UsageError(f"{source}: the two directions are along one line, so they span no plane: give others")
    count = len(vectors)
    settings = axis_settings(options, grid=(51,) * count, range=((-1.0, 1.0),) * count)
    axes = tuple(
        slices.Axis(name=f"direction_{index}", label=f"direction {index + 1}", values=axis_values(low, high, points))
        for index, (points, low, high) in enumerate(settings)
    )
    return SlicePlan(
        slice_type="custom",
        geometry="curve" if count == 1 else "grid",
        axes=axes,
        blocks=(PointBlock(directions=lambda: vectors, coefficients=grid_coefficients(axes)),),
        directions=tuple(
            slices.Direction(
                name=f"direction_{index}",
                recipe={"kind": "custom", "from": source, "tensors": len(vector)},
                norm=lengths[index],
            )
            for index, vector in enumerate(vectors)
        ),
        cosine=cosine,
        trajectory=planned_trajectory(center, vectors) if with_trajectory else None,
    )


def _read(file: str) -> list[NamedTensors]:
    """The directions of a file, lazy."""
    if not file.strip():
        raise UsageError("--method custom needs --directions FILE.safetensors with tensors direction_0/NAME")
    path = Path(os.path.expanduser(file))
    if not path.is_file():
        raise UsageError(f"--directions {file} is not a file")
    try:
        tensors = open_safetensors(path)
    except CheckpointError as error:
        raise UsageError(f"--directions {error}") from error
    assert isinstance(tensors, LazyTensors)
    strangers = [name for name in tensors if not name.startswith(_PREFIXES)]
    found = [_part(tensors, prefix) for prefix in _PREFIXES]
    if strangers or not found[0]:
        shown = f"it has {', '.join(strangers[:3])}" if strangers else "there is no direction_0"
        raise UsageError(
            f"--directions {file} needs tensors direction_0/NAME and, for a grid, direction_1/NAME; {shown}"
        )
    return [direction for direction in found if direction]


def _part(tensors: LazyTensors, prefix: str) -> LazyTensors:
    like = {name.removeprefix(prefix): tensor for name, tensor in tensors.like.items() if name.startswith(prefix)}
    return LazyTensors(like, lambda name, start, stop: tensors.rows(prefix + name, start, stop))


def _check_fit(direction: NamedTensors, center: CenterPoint, movable: Sequence[str], what: str) -> None:
    own = shapes_of(center.state)
    for name, tensor in shapes_of(direction).items():
        if name not in movable:
            raise UsageError(f"{what} names {name!r}, which is no parameter of the model{suggestion(name, movable)}")
        if tensor.shape != own[name].shape:
            raise UsageError(f"{what} has {name} of shape {list(tensor.shape)}, the model's is {list(own[name].shape)}")
        if not (tensor.is_floating_point() or (tensor.is_complex() and own[name].is_complex())):
            raise UsageError(f"{what} has {name} in {tensor.dtype}, expected floating numbers")


def _in_the_models_dtype(direction: NamedTensors, center: CenterPoint) -> NamedTensors:
    """Halves stay in float32, as of all directions."""
    own = shapes_of(center.state)
    kinds = {name: wide_enough(own[name].dtype) for name in shapes_of(direction)}

    def rows(name: str, start: int, stop: int) -> Tensor:
        # For its device; what has no dimension has no empty part.
        like = rows_of(center.state, name, start, start if own[name].ndim else stop)
        return rows_of(direction, name, start, stop).to(like.device, kinds[name])

    shapes = {name: torch.empty(own[name].shape, dtype=kind, device="meta") for name, kind in kinds.items()}
    lazy = LazyTensors(shapes, rows)
    return lazy if isinstance(center.state, LazyTensors) else dict(lazy)
