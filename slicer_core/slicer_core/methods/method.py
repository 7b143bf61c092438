"""What a method is given and what it answers: a center and options in, a plan of points out.

It evaluates none of them; what it may have to, to find its directions, goes through `Preparation`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from slicer_core.checkpoints import Checkpoint
from slicer_core.choices import BatchNormPolicy, Ignore, Normalization
from slicer_core.directions import PathPoint
from slicer_core.errors import UsageError
from slicer_core.methods.preparation import Preparation
from slicer_core.parameters import NamedTensors, select_names, shapes_of, subset
from slicer_core.plan import SlicePlan, parse_grid, parse_range
from slicer_core.subject import ModelWrapper, PythonSide

AUTO = "auto"
"""A range that the method takes from what it finds."""


@dataclass(frozen=True, kw_only=True)
class SliceOptions:
    """What the methods share. `grid` and `range` are points and limits for each axis, None for the default."""

    grid: tuple[int, ...] | None = None
    range: tuple[tuple[float, float], ...] | None = None
    normalize: Normalization = "filter"
    ignore: Ignore = "biasbn"
    params: Sequence[str] = ()
    exclude: Sequence[str] = ()
    seed: int = 0
    batchnorm: BatchNormPolicy | None = None

    @classmethod
    def parse(cls, *, grid: str | None, range: str | None, num_axes: int, **others: object) -> SliceOptions:
        """From the texts of the command, see `parse_grid` and `parse_range`; a range of `auto` is the method's own.

        Raises:
            UsageError: a text is not of its form.
        """
        return cls(
            grid=None if grid is None else parse_grid(grid, num_axes),
            range=None if range in (None, AUTO) else parse_range(range, num_axes),
            **others,  # type: ignore[arg-type] - the caller passes the other fields by name
        )

    @classmethod
    def given(
        cls, num_axes: int, points: Any, limits: Any = None, *, params: Sequence[str] = (), **others: Any
    ) -> SliceOptions:
        """From arguments of a slicer: a number of points and a pair (low, high), for all axes or one for each.

        `params` may be one pattern alone.

        Raises:
            UsageError: an argument is not of its form.
        """
        return cls(
            grid=_of_each_axis("number of points", points, num_axes, _whole_number, "a whole number"),
            range=None if limits is None else _of_each_axis("range", limits, num_axes, _pair, "a pair (low, high)"),
            params=(params,) if isinstance(params, str) else params,
            **others,
        )


@dataclass(frozen=True, kw_only=True)
class CenterPoint:
    """The point that a slice is taken around, with what a method may ask of its surroundings.

    `state` has every parameter and buffer; `scale_state` those whose norms scale random directions. `other(name)`
    gives the state at another point of the run, by `first`, `last` or a path. `path` are all checkpoints of the run,
    ascending by step, and `checkpoint` the one at the center, where there is a run. `side` is what the model's own
    loading of it has set beside tensors.
    """

    wrapper: ModelWrapper
    state: NamedTensors
    scale_state: NamedTensors
    other: Callable[[str], NamedTensors] = field(repr=False)
    preparation: Preparation = field(default_factory=Preparation, repr=False)
    path: Sequence[PathPoint] = field(default=(), repr=False)
    checkpoint: Checkpoint | None = None
    side: PythonSide | None = field(default=None, repr=False)

    def load(self) -> None:
        """Gives the model what goes with the center beside tensors, whatever other checkpoint was loaded since."""
        if self.side is not None:
            self.side.put_back()

    def varying(self, options: SliceOptions) -> NamedTensors:
        """The parameters that may get a random or axis direction, after `--params` and `--exclude`.

        Raises:
            UsageError: none is left.
        """
        names = self.wrapper.varying_names()
        if not names:
            raise UsageError("every parameter of the model is frozen (requires_grad=False), so no direction is left")
        return subset(self.state, select_names(names, options.params, options.exclude))

    def parameters(self) -> list[str]:
        """The names of all floating and complex parameters, frozen ones included: those in which checkpoints differ."""
        shapes = shapes_of(self.state)
        return [
            name
            for name, _ in self.wrapper.model.named_parameters()
            if shapes[name].is_floating_point() or shapes[name].is_complex()
        ]

    def movable(self, options: SliceOptions) -> list[str]:
        """Of these, what a difference of two checkpoints may move, after `--params` and `--exclude`.

        Raises:
            UsageError: none is left.
        """
        return select_names(self.parameters(), options.params, options.exclude)


class Method(ABC):
    """A frozen dataclass of the method's own options that turns a center into a plan."""

    default_batchnorm: BatchNormPolicy = "frozen"
    points_option: str = "--to"
    reads_first_split: bool = False
    """Whether the plan depends on the first split's data, whatever split is evaluated."""
    """The option that names the points of `references`."""

    @property
    def uses_path(self) -> bool:
        """Whether the plan depends on all checkpoints of the run."""
        return False

    @property
    def center(self) -> str | None:
        """The one point of the run that slices are taken around, by its name; None for one around each checkpoint."""
        return None

    @abstractmethod
    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """The points of the slice around the center.

        Raises:
            UsageError: the options don't fit the method or the model.
        """

    @property
    def num_axes(self) -> int | None:
        """How many axes its slices have, where its options say so; None for those of its geometry.

        Raises:
            UsageError: the options can't be used.
        """
        return None

    def files(self) -> Sequence[str]:
        """The files beside checkpoints that the plan depends on."""
        return ()

    def files_of(self, checkpoint: Checkpoint) -> Sequence[Path]:
        """Files beside a checkpoint's weights that its slice depends on."""
        return ()

    def references(self) -> Sequence[str]:
        """The names of other points that the plan asks `CenterPoint.other` for."""
        return ()

    def path_read(self, checkpoints: Sequence[Checkpoint], around: Checkpoint) -> Sequence[Checkpoint]:
        """Of the run's checkpoints, ascending, those that a slice around one of them reads for the path."""
        return checkpoints if self.uses_path else ()

    def steps_to_skip(self, steps: Sequence[int]) -> Mapping[int, str]:
        """Of a run's steps, those of which there is no slice, with the reason."""
        return {}


def _of_each_axis(name: str, given: Any, num_axes: int, read: Callable[[Any], Any], expected: str) -> tuple[Any, ...]:
    if (one := read(given)) is not None:
        return (one,) * num_axes
    found = [read(entry) for entry in _entries(given)]
    if len(found) == num_axes and None not in found:
        return tuple(found)
    each = f", or {num_axes} of them, one for each axis" if num_axes > 1 else ""
    raise UsageError(f"the {name} is {given!r}: give {expected}{each}")


def _whole_number(given: Any) -> int | None:
    return int(given) if isinstance(given, Integral) and not isinstance(given, bool) else None


def _pair(given: Any) -> tuple[float, float] | None:
    entries = _entries(given)
    if len(entries) != 2 or not all(isinstance(entry, Real) for entry in entries):
        return None
    return float(entries[0]), float(entries[1])


def _entries(given: Any) -> tuple[Any, ...]:
    """Of a tuple, a list or an array."""
    try:
        return () if isinstance(given, str) else tuple(given)
    except TypeError:
        return ()


def axis_settings(
    options: SliceOptions, *, grid: tuple[int, ...], range: tuple[tuple[float, float], ...]
) -> list[tuple[int, float, float]]:
    """Points and limits for each axis, with the method's defaults where the options are silent.

    Raises:
        UsageError: the options have another number of axes.
    """
    points, limits = options.grid or grid, options.range or range
    for name, given in (("--grid", points), ("--range", limits)):
        if len(given) != len(grid):
            raise UsageError(f"{name} is given for {len(given)} axes, the method has {len(grid)}")
    return [(number, low, high) for number, (low, high) in zip(points, limits, strict=True)]


def refuse_interpolation(options: SliceOptions) -> None:
    """For methods whose points do not lie between two checkpoints.

    Raises:
        UsageError: BatchNorm's statistics are to be interpolated.
    """
    if options.batchnorm == "interpolate":
        raise UsageError(
            "--batchnorm interpolate needs a second checkpoint to move the statistics to, as --method linear has: give "
            "frozen or recompute"
        )
