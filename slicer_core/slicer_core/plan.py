"""What is to be evaluated: the points of a slice as coefficients of directions, and what the slice will say of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from slicer_core.errors import UsageError
from slicer_core.parameters import NamedTensors
from slicer_core.slices import Axis, Curve, Direction, Measure
from slicer_core.slices.codec import MAX_ARRAY_BYTES
from slicer_core.slices.types import Geometry

MAX_POINTS_PER_AXIS = 100_001
MAX_POINTS = MAX_ARRAY_BYTES // np.dtype(np.float64).itemsize
"""Whose losses fill the largest array that a slice is stored with."""


@dataclass(frozen=True, kw_only=True)
class PointBlock:
    """Points θ₀ + Σ coefficients[p, i]·directions[i]; `coefficients` has shape (points, directions), float64.

    `directions()` gives the vectors when the block is evaluated, so that a family of a thousand does not lie in memory
    at once. A direction may lack names (zeros there) and may move buffers.
    """

    directions: Callable[[], tuple[NamedTensors, ...]]
    coefficients: np.ndarray


@dataclass(frozen=True, kw_only=True)
class PlannedMarker:
    """A named point of the slice whose own loss, with its own buffers, is to be known. `state`: all tensors there."""

    name: str
    coordinates: tuple[float, ...]
    state: NamedTensors


@dataclass(frozen=True, kw_only=True)
class PlannedTrajectory:
    """A training's checkpoints as the slice shows them, whose own losses, with their own buffers, are to be known.

    `coordinates` (checkpoints, axes) are their nearest points in the plane, `residuals` (checkpoints,) the distances to
    these, `captured` 1 - Σ residual²/Σ distance², with distances from the center. `states` give all tensors of each.
    """

    steps: tuple[int, ...]
    coordinates: np.ndarray
    residuals: np.ndarray
    captured: float
    states: tuple[Callable[[], NamedTensors], ...]


@dataclass(frozen=True, kw_only=True)
class SlicePlan:
    """The points of a slice, block after block in the order of the flattened arrays, and its description."""

    slice_type: str
    geometry: Geometry
    axes: tuple[Axis, ...]
    blocks: tuple[PointBlock, ...]
    directions: tuple[Direction, ...] = ()
    cosine: float | None = None
    curves: tuple[Curve, ...] = ()
    markers: tuple[PlannedMarker, ...] = ()
    measures: Mapping[str, Measure] = field(default_factory=dict)
    trajectory: PlannedTrajectory | None = None
    repeats: tuple[PointBlock, ...] = ()
    """The same points along other directions, each block in the order of `blocks`; they give the slice its band."""
    notes: tuple[str, ...] = ()
    """What a person should know of how the options were taken."""

    def __post_init__(self) -> None:
        check_num_points(self.shape)

    @property
    def num_points(self) -> int:
        """Points over its own blocks."""
        return sum(len(block.coefficients) for block in self.blocks)

    @property
    def all_blocks(self) -> tuple[PointBlock, ...]:
        """What is evaluated: the slice's own points, then those of its repeats."""
        return (*self.blocks, *self.repeats)

    @property
    def num_evaluated(self) -> int:
        """Points over `all_blocks`."""
        return self.num_points * (1 + len(self.repeats))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the slice's arrays."""
        sizes = tuple(axis.values.size for axis in self.axes)
        return (len(self.curves), *sizes) if self.geometry == "curves" else sizes


def axis_values(low: float, high: float, num_points: int, *, anchors: Sequence[float] = ()) -> np.ndarray:
    """`num_points` increasing values from `low` to `high`, shape (n,), float64, with each anchor inside exactly on it.

    Evenly spaced; where an anchor falls between two values, evenly spaced on each side of it. Zero is exact if the
    even spacing meets it.

    Raises:
        UsageError: the range is empty or not finite, or the points are too few to hold ends and anchors, or too many
            to differ.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"--range {low:g}:{high:g} is the wrong way round or empty: give LOW:HIGH with LOW < HIGH")
    if not 2 <= num_points <= MAX_POINTS_PER_AXIS:
        raise UsageError(f"--grid needs 2 to {MAX_POINTS_PER_AXIS} points along an axis, not {num_points}")
    if not math.isfinite(high - low):
        raise UsageError(f"--range {low:g}:{high:g} is wider than floating numbers are: give a narrower one")
    even = np.linspace(low, high, num_points)
    step = (high - low) / (num_points - 1)
    for exact in (0.0, *anchors):
        near = int(np.argmin(np.abs(even - exact)))
        if low < exact < high and abs(even[near] - exact) <= 1e-9 * step:
            even[near] = exact
    knots = [low, *sorted({anchor for anchor in anchors if low < anchor < high}), high]
    if num_points < len(knots):
        raise UsageError(
            f"--grid {num_points} is too few to have {', '.join(f'{knot:g}' for knot in knots)} on it: "
            f"give {len(knots)} or more"
        )
    values = even if all(np.any(even == knot) for knot in knots) else _piecewise(knots, num_points)
    if not (np.isfinite(values).all() and (np.diff(values) > 0).all()):
        raise UsageError(f"--range {low:g}:{high:g} does not hold {num_points} different numbers: give another range")
    return values


def check_num_points(shape: Sequence[int]) -> None:
    """That a slice's arrays of this shape can be stored.

    Raises:
        UsageError: they have too many points.
    """
    if math.prod(shape) > MAX_POINTS:
        raise UsageError(
            f"--grid: {'x'.join(map(str, shape))} points are {math.prod(shape)}, and a slice holds {MAX_POINTS}: give "
            "fewer"
        )


def grid_coefficients(axes: Sequence[Axis]) -> np.ndarray:
    """All combinations of the axes' values, shape (n0·n1, 2), the last axis fastest.

    Raises:
        UsageError: they are more than a slice holds.
    """
    check_num_points([axis.values.size for axis in axes])
    mesh = np.meshgrid(*(axis.values for axis in axes), indexing="ij")
    return np.stack([values.reshape(-1) for values in mesh], axis=1)


def parse_grid(text: str, num_axes: int) -> tuple[int, ...]:
    """`51` (the same along each axis) or `51x31`.

    Raises:
        UsageError: not of this form, or of another number of axes.
    """
    if not re.fullmatch(r"\d+(x\d+)*", text.strip()):
        raise UsageError(f"--grid {text!r} is not a number of points: give N, or NxM for a grid")
    sizes = tuple(int(part) for part in text.strip().split("x"))
    if len(sizes) not in (1, num_axes):
        raise UsageError(f"--grid {text!r} has {len(sizes)} axes, the method has {num_axes}")
    sizes = sizes * num_axes if len(sizes) == 1 else sizes
    if min(sizes) < 2:
        raise UsageError(f"--grid {text!r} needs at least 2 points along an axis")
    return sizes


def parse_range(text: str, num_axes: int) -> tuple[tuple[float, float], ...]:
    """`-1:1` (the same along each axis) or `-1:1,0:2`.

    Raises:
        UsageError: not of this form, the wrong way round, or of another number of axes.
    """
    ranges = []
    for part in text.split(","):
        low, colon, high = part.partition(":")
        try:
            limits = (float(low), float(high))
        except ValueError:
            limits = None
        if not colon or limits is None:
            raise UsageError(f"--range {text!r} is not of the form LOW:HIGH, or LOW:HIGH,LOW:HIGH for two axes")
        if not (all(map(math.isfinite, limits)) and limits[0] < limits[1]):
            raise UsageError(f"--range {part!r} is the wrong way round or empty: give LOW:HIGH with LOW < HIGH")
        ranges.append(limits)
    if len(ranges) not in (1, num_axes):
        raise UsageError(f"--range {text!r} has {len(ranges)} axes, the method has {num_axes}")
    return tuple(ranges * num_axes if len(ranges) == 1 else ranges)


def _piecewise(knots: Sequence[float], num_points: int) -> np.ndarray:
    """Even spacing between neighboring knots, intervals shared out by length (largest remainder, at least one)."""
    lengths = np.diff(knots)
    spare = num_points - 1 - len(lengths)
    ideal = spare * (lengths / lengths.sum())
    shares = np.floor(ideal).astype(int)
    for index in np.argsort(-(ideal - shares), kind="stable")[: spare - shares.sum()]:
        shares[index] += 1
    pieces = [
        np.linspace(start, end, int(share) + 2)[:-1]
        for start, end, share in zip(knots[:-1], knots[1:], shares, strict=True)
    ]
    return np.concatenate([*pieces, [knots[-1]]])
