"""The methods by name: what the command offers and where each is made. Imports neither torch nor a method's file."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slicer_core.errors import UsageError

if TYPE_CHECKING:
    from slicer_core.methods.method import Method
    from slicer_core.slices.types import Geometry


@dataclass(frozen=True, kw_only=True)
class MethodOption:
    """An option of one method: a field of its class, a flag of the command, a key of a configuration file.

    `unhashed_default`: the default is left out of a job's hash, so that results from before there was the option count.
    """

    name: str
    default: str | int | float | bool
    help: str
    unhashed_default: bool = False

    @property
    def flag(self) -> str:
        """The flag as it is typed."""
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """One method. `home` is `module:Class`; `grid` and `range` are the defaults that the command shows.

    A `range` of `auto` is one that the method takes from what it finds, see `SliceOptions.parse`.
    """

    name: str
    slice_type: str
    geometry: Geometry
    summary: str
    home: str
    grid: str
    range: str
    options: tuple[MethodOption, ...] = ()

    @property
    def option_names(self) -> tuple[str, ...]:
        """The names of the method's own options."""
        return tuple(option.name for option in self.options)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raises UsageError where an option is not one of the method's."""
        known = {option.name for option in self.options}
        for name in options:
            if name not in known:
                raise UsageError(_foreign_option(self, name))

    def create(self, options: Mapping[str, Any]) -> Method:
        """The method with its options.

        Raises:
            UsageError: an option is not one of the method's.
        """
        self.check_options(options)
        module, _, class_name = self.home.partition(":")
        return getattr(importlib.import_module(module), class_name)(**options)


_CURVATURE_OPTIONS = (
    MethodOption(name="curvature", default="hessian", help="hessian, or ggn for the generalized Gauss-Newton matrix."),
    MethodOption(
        name="which", default="top", help="Eigenvectors of the top or the bottom eigenvalues, or both for one of each."
    ),
    MethodOption(name="eigen_tolerance", default=1e-4, help="Residual of an eigenvector, relative to its eigenvalue."),
    MethodOption(name="products", default=2000, help="The most products with the curvature at a checkpoint."),
    MethodOption(name="blocks", default=False, help="Also the top eigenvalue of each layer's block."),
)

_TO = MethodOption(
    name="to",
    default="last",
    help="Where the line ends: first, last, random (linear only), a step or a checkpoint.",
)

_REPEATS = MethodOption(
    name="repeats",
    default=1,
    help="How many random directions (or pairs of them): mean, lowest and highest loss of them are a band.",
)
_ORTHOGONAL = MethodOption(
    name="orthogonal",
    default=False,
    help="Make the second direction orthogonal to the first, and as long as it was.",
)

_TRAJECTORY = MethodOption(
    name="trajectory",
    default=False,
    help="Show where the run's checkpoints lie in the plane, how far from it, and their losses.",
)

METHODS: dict[str, MethodRow] = {
    row.name: row
    for row in (
        MethodRow(
            name="linear",
            slice_type="linear_interpolation",
            geometry="curve",
            summary="the straight line from each checkpoint to another point",
            home="slicer_core.methods.linear:Linear",
            grid="51",
            range="-0.5:1.5",
            options=(
                _TO,
                MethodOption(
                    name="align",
                    default="none",
                    help="weights permutes the units of the other network first, so that they match (Git Re-Basin).",
                    unhashed_default=True,
                ),
            ),
        ),
        MethodRow(
            name="bezier",
            slice_type="bezier_curve",
            geometry="curve",
            summary="a curve to another point that is trained to have a low loss",
            home="slicer_core.methods.bezier:Bezier",
            grid="51",
            range="0:1",
            options=(
                _TO,
                MethodOption(name="curve", default="bezier", help="bezier, or polychain for two straight pieces."),
                MethodOption(name="train_steps", default=500, help="Steps of the curve's training, one batch each."),
                MethodOption(name="learning_rate", default=0.01, help="Of Adam, in the curve's training."),
                MethodOption(name="train_batch", default=128, help="Samples of a batch in the curve's training."),
            ),
        ),
        MethodRow(
            name="axis",
            slice_type="axis_parallel",
            geometry="curves",
            summary="one scalar parameter at a time, by offsets from its value",
            home="slicer_core.methods.axis:Axis",
            grid="51",
            range="-1:1",
            options=(
                MethodOption(
                    name="params_to_slice",
                    default="0:10",
                    help="Which scalars: 0:10, 3,17,29, layer.weight[3,17], largest:20 or random:20.",
                ),
            ),
        ),
        MethodRow(
            name="layers",
            slice_type="layer_directions",
            geometry="curves",
            summary="one random direction for each layer: which layer is sensitive",
            home="slicer_core.methods.layers:Layers",
            grid="51",
            range="-1:1",
        ),
        MethodRow(
            name="random1d",
            slice_type="random_direction_1d",
            geometry="curve",
            summary="one random direction (Li et al. 2018)",
            home="slicer_core.methods.random_direction:Random1D",
            grid="51",
            range="-1:1",
            options=(_REPEATS,),
        ),
        MethodRow(
            name="random2d",
            slice_type="random_direction_2d",
            geometry="grid",
            summary="the plane of two random directions (Li et al. 2018)",
            home="slicer_core.methods.random_direction:Random2D",
            grid="51x51",
            range="-1:1",
            options=(_TRAJECTORY, _ORTHOGONAL, _REPEATS),
        ),
        MethodRow(
            name="gradient",
            slice_type="gradient_1d",
            geometry="curve",
            summary="along the negative gradient, the last update, or Adam's step",
            home="slicer_core.methods.gradient:Gradient",
            grid="51",
            range="auto",
            options=(
                MethodOption(
                    name="along",
                    default="gradient",
                    help="gradient (α is a learning rate), update (from the checkpoint before, at α = -1), or adam "
                    "(the step that saved moments make; α is a learning rate).",
                ),
            ),
        ),
        MethodRow(
            name="pca2d",
            slice_type="pca_2d",
            geometry="grid",
            summary="the plane in which the checkpoints' path mostly lies, with the path in it",
            home="slicer_core.methods.pca:PCA2D",
            grid="51x51",
            range="auto",
        ),
        MethodRow(
            name="plane",
            slice_type="plane",
            geometry="grid",
            summary="the plane through three checkpoints (Garipov et al. 2018)",
            home="slicer_core.methods.plane:Plane",
            grid="51x51",
            range="auto",
            options=(
                MethodOption(
                    name="through",
                    default="first,middle,last",
                    help="The three corners A,B,C: first, middle, last, steps, or checkpoint files.",
                ),
                _TRAJECTORY,
            ),
        ),
        MethodRow(
            name="custom",
            slice_type="custom",
            geometry="curve",
            summary="one or two directions of your own, from a safetensors file",
            home="slicer_core.methods.custom:Custom",
            grid="51",
            range="-1:1",
            options=(
                MethodOption(
                    name="directions",
                    default="",
                    help="The safetensors file: tensors direction_0/NAME and, for a grid, direction_1/NAME.",
                ),
                _TRAJECTORY,
            ),
        ),
        MethodRow(
            name="hessian1d",
            slice_type="hessian_1d",
            geometry="curve",
            summary="the direction of largest curvature",
            home="slicer_core.methods.hessian:Hessian1D",
            grid="51",
            range="auto",
            options=_CURVATURE_OPTIONS,
        ),
        MethodRow(
            name="hessian2d",
            slice_type="hessian_2d",
            geometry="grid",
            summary="the plane of the two directions of largest curvature",
            home="slicer_core.methods.hessian:Hessian2D",
            grid="51x51",
            range="auto",
            options=_CURVATURE_OPTIONS,
        ),
    )
}


def find_method(name: str) -> MethodRow:
    """The row of that name.

    Raises:
        UsageError: there is none.
    """
    row = METHODS.get(name)
    if row is None:
        raise UsageError(f"--method {name!r} is not one of {', '.join(METHODS)}")
    return row


def all_options() -> dict[str, MethodOption]:
    """Every method's options by name."""
    return {option.name: option for row in METHODS.values() for option in row.options}


def _foreign_option(row: MethodRow, name: str) -> str:
    owners = [other.name for other in METHODS.values() if any(option.name == name for option in other.options)]
    own = ", ".join(option.flag for option in row.options) or "none"
    flag = "--" + name.replace("_", "-")
    return (
        f"{flag} is an option of --method {' and '.join(owners) or '(none)'}, not of {row.name} (whose own are: {own})"
    )
