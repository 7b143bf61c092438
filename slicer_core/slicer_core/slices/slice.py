"""`Slice`: the result of one slice as a frozen value, with its checks. Numpy only; how it is stored is `header`'s."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from slicer_core.errors import FormatError
from slicer_core.slices.codec import dtype_name
from slicer_core.slices.types import GEOMETRIES, Geometry

if TYPE_CHECKING:
    from collections.abc import Mapping

Role = Literal["value", "stderr", "count", "interpolated", "difference_stderr"]
"""`difference_stderr` is the paired standard error of the difference to the center."""
ROLES: tuple[str, ...] = get_args(Role)
Status = Literal["complete", "provisional"]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One coordinate of a slice: `values` of shape (n,), in units of its direction."""

    name: str
    label: str
    values: np.ndarray


@dataclass(frozen=True, kw_only=True)
class SliceArray:
    """One number at each point.

    `values` has shape (n,) for a curve, (k, n) for k curves, (n0, n1) for a grid; `values[i, j]` of a grid
    belongs to `axes[0].values[i]` and `axes[1].values[j]`. NaN and infinities are results.
    """

    name: str
    split: str
    role: Role
    values: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One member of a family of curves: a scalar parameter (with its `index` in the tensor) or a layer.

    `center` is the parameter's own value at the center, None where the curve moves more than one entry.
    """

    name: str
    layer: str
    index: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    center: float | None = None


@dataclass(frozen=True, kw_only=True)
class Direction:
    """How a direction was made (`recipe`, JSON values), and its 2-norm as it was used."""

    name: str
    recipe: Mapping[str, Any]
    norm: float
    explained_variance: float | None = None
    eigenvalue: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number of the whole slice; `error` is one standard error, None where the value is exact or it is not known.

    `details` (JSON values): what else there is to say of it, such as where it was found and the settings.
    """

    value: float
    error: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Marker:
    """A named point in slice coordinates, with its loss for each split where that is known."""

    name: str
    coordinates: tuple[float, ...]
    loss: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Center:
    """The point that the slice is taken around. `loss` is the user's own loss there, one value a split.

    Where the slice is of a part of a split's samples, `loss` is of those and `whole_loss` of all. Where weight decay is
    added to the losses, `data_loss` is `loss` without it.
    """

    loss: Mapping[str, float]
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    step: int | None = None
    norm: float | None = None
    whole_loss: Mapping[str, float] = field(default_factory=dict)
    data_loss: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Loss and metrics on a set of points around a center.

    The first array is the loss on the training split, or on the only split.

    Raises:
        FormatError: type and geometry don't go together, or an array's shape does not fit the axes.
    """

    slice_type: str
    geometry: Geometry
    axes: tuple[Axis, ...]
    arrays: tuple[SliceArray, ...]
    status: Status = "complete"
    filled: float = 1.0
    curves: tuple[Curve, ...] = ()
    directions: tuple[Direction, ...] = ()
    cosine: float | None = None
    center: Center | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    markers: tuple[Marker, ...] = ()
    trajectory: Mapping[str, Any] | None = None
    checkpoint: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        geometries = GEOMETRIES.get(self.slice_type)
        if geometries is None:
            raise FormatError(f"slice type {self.slice_type!r} is not one of {', '.join(GEOMETRIES)}")
        if self.geometry not in geometries:
            raise FormatError(
                f"a slice of type {self.slice_type!r} has geometry {' or '.join(geometries)}, not {self.geometry!r}"
            )
        if self.status not in get_args(Status):
            raise FormatError(f"status {self.status!r} is not one of {', '.join(get_args(Status))}")
        if not (math.isfinite(self.filled) and 0.0 <= self.filled <= 1.0):
            raise FormatError(f"filled is the fraction of points that are there, from 0 to 1, not {self.filled!r}")
        self._check_shapes()

    def _check_shapes(self) -> None:
        wanted_axes = 2 if self.geometry == "grid" else 1
        if len(self.axes) != wanted_axes:
            raise FormatError(f"a slice of geometry {self.geometry} has {wanted_axes} axes, found {len(self.axes)}")
        for axis in self.axes:
            if axis.values.ndim != 1 or axis.values.size == 0:
                raise FormatError(f"axis {axis.name!r} needs a list of numbers, found shape {axis.values.shape}")
            if axis.values.dtype.kind not in "fiu" or not np.isfinite(axis.values).all():
                raise FormatError(f"axis {axis.name!r} holds a value that is not a finite number")
        if not self.arrays:
            raise FormatError("a slice needs at least one array")
        if self.geometry == "curves" and not self.curves:
            raise FormatError("a slice of geometry curves needs a description of each curve")
        for array in self.arrays:
            dtype_name(array.values)
            if array.role not in ROLES:
                raise FormatError(f"array role {array.role!r} is not one of {', '.join(ROLES)}")
            if array.values.shape != self.shape:
                raise FormatError(
                    f"array {array.name!r} ({array.split}, {array.role}) has shape {list(array.values.shape)}, "
                    f"but the axes give {list(self.shape)}"
                )

    @property
    def step_unit(self) -> str:
        """What its checkpoint's step counts: "step", or "epoch"."""
        return str((self.checkpoint or {}).get("step_unit", "step"))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of every array: (n,), (k, n) or (n0, n1)."""
        sizes = tuple(axis.values.size for axis in self.axes)
        return (len(self.curves), *sizes) if self.geometry == "curves" else sizes

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have values, in the order of the arrays."""
        return tuple(dict.fromkeys(array.split for array in self.arrays))

    @property
    def loss(self) -> np.ndarray:
        """The first array: the training loss, or the only split's."""
        return self.arrays[0].values

    def array(self, name: str = "loss", split: str | None = None, role: Role = "value") -> np.ndarray:
        """The array of that name, split (default: the first) and role.

        Raises:
            KeyError: there is none.
        """
        wanted = split or self.arrays[0].split
        for array in self.arrays:
            if (array.name, array.split, array.role) == (name, wanted, role):
                return array.values
        there = ", ".join(f"{array.name} ({array.split}, {array.role})" for array in self.arrays)
        raise KeyError(f"no array {name!r} of split {wanted!r} and role {role!r}; there are: {there}")

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the slice's figure, where matplotlib is installed."""
        from slicer_core.slices.notebook import picture

        return picture(self)

    def _repr_html_(self) -> str | None:
        """What a notebook shows in place of the figure, where matplotlib is missing: the slice in a small table."""
        from slicer_core.slices.notebook import table

        return table(self)

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary with the header's fields, and the arrays themselves under `values`."""
        from slicer_core.slices.header import slice_to_dict

        return slice_to_dict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Slice:
        """The slice that `to_dict` made `data` from; unknown fields are ignored.

        Raises:
            FormatError: a field is missing or has the wrong form.
        """
        from slicer_core.slices.header import slice_from_dict

        return slice_from_dict(data)
