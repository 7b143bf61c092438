"""The rows of the table: which points of which subject are evaluated, and the ratio that each is to reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

import subjects
from slicer_core.directions import coordinate_direction, coordinates_at, normalize_direction, random_direction
from slicer_core.plan import PointBlock
from subjects import Subject

AXIS_PARAMETERS = 60
LINE_POINTS = 51


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. What it needs is made when the row is measured.

    `targets`: the ratio to reach with the default and with the tuned allocator, None where there is none.
    `largest_error`: what `Measurement.error` may be.
    """

    name: str
    subject: Callable[[torch.device], Subject]
    blocks: Callable[[Subject, bool], list[PointBlock]]
    dtype: torch.dtype | None = None
    targets: tuple[float | None, float | None] = (None, None)
    largest_error: float = 1e-4
    seconds_to_reach: float | None = None
    needs_cuda: bool = False


def plane(subject: Subject, quick: bool, *, grid: int, quick_grid: int = 3) -> list[PointBlock]:
    """The points of `random2d`: two filter-normalized directions, each coordinate from -1 to 1."""
    values = np.linspace(-1, 1, quick_grid if quick else grid)
    mesh = np.stack([part.ravel() for part in np.meshgrid(values, values, indexing="ij")], axis=1)
    return [_block(subject, [_normalized(subject, axis) for axis in range(2)], mesh)]


def line(subject: Subject) -> list[PointBlock]:
    """The points of `random1d`."""
    return [_block(subject, [_normalized(subject, 0)], np.linspace(-1, 1, LINE_POINTS)[:, None])]


def layers(subject: Subject, quick: bool) -> list[PointBlock]:
    """The points of a random direction for each layer: each tensor with more than one dimension."""
    values = np.linspace(-1, 1, 3 if quick else LINE_POINTS)[:, None]
    return [
        _block(subject, [{name: direction}], values)
        for name, direction in _normalized(subject, 0).items()
        if direction.ndim > 1
    ]


def axis(subject: Subject, quick: bool) -> list[PointBlock]:
    """The points of `axis` for parameters spread over all tensors, in the model's order."""
    values = np.linspace(-1, 1, 3 if quick else LINE_POINTS)[:, None]
    parameters = subject.parameters()
    count = 6 if quick else AXIS_PARAMETERS
    generator = torch.Generator().manual_seed(0)
    starts = np.cumsum([0, *(tensor.numel() for tensor in parameters.values())])
    owners = [number * len(parameters) // count for number in range(count)]
    flat = [
        int(starts[owner]) + int(torch.randint(int(starts[owner + 1] - starts[owner]), (1,), generator=generator))
        for owner in owners
    ]
    return [
        _block(subject, [coordinate_direction(parameters, coordinate)], values)
        for coordinate in coordinates_at(parameters, flat)
    ]


def _normalized(subject: Subject, axis: int) -> dict[str, Tensor]:
    parameters = subject.parameters()
    return normalize_direction(random_direction(parameters, seed=0, axis=axis), parameters)


def _block(subject: Subject, directions: Sequence[dict[str, Tensor]], coefficients: np.ndarray) -> PointBlock:
    device = subject.data[0].device
    moved = tuple({name: part.to(device) for name, part in direction.items()} for direction in directions)
    return PointBlock(directions=lambda: moved, coefficients=coefficients)


def table() -> list[Row]:
    """All rows, in the order in which they are measured."""
    small, large = partial(subjects.mlp, 1000), partial(subjects.mlp, 10_000)
    resnet20, resnet56, gpt = subjects.resnet20, partial(subjects.resnet56, 50_000), subjects.gpt
    plane51, plane25, plane21, plane11 = (partial(plane, grid=grid) for grid in (51, 25, 21, 11))
    short = torch.bfloat16
    return [
        Row(name="mlp-1000/plane", subject=small, blocks=plane51, targets=(6.5, 5)),
        Row(name="mlp-10000/plane", subject=large, blocks=plane51, targets=(8, 6)),
        Row(name="resnet20/plane", subject=resnet20, blocks=plane51, targets=(2.5, 1.5)),
        Row(
            name="resnet20/plane/bfloat16",
            subject=resnet20,
            blocks=plane51,
            dtype=short,
            targets=(3.7, 2.2),
            largest_error=1e-3,
        ),
        Row(name="gpt/plane", subject=gpt, blocks=plane25, targets=(1.4, 1.3)),
        Row(
            name="gpt/plane/bfloat16",
            subject=gpt,
            blocks=plane25,
            dtype=short,
            targets=(2.6, 2.4),
            largest_error=1e-3,
        ),
        Row(name="resnet18/plane", subject=subjects.resnet18, blocks=plane11, targets=(1, 1)),
        Row(name="bag/plane", subject=subjects.bag, blocks=plane21, targets=(1, 1)),
        Row(name="mlp-1000/layers", subject=small, blocks=layers, targets=(8, 6)),
        Row(name="mlp-10000/layers", subject=large, blocks=layers, targets=(8, 6)),
        Row(name="resnet20/layers", subject=resnet20, blocks=layers, targets=(2.5, 2)),
        Row(name="gpt/layers", subject=gpt, blocks=layers, targets=(1.9, 1.8)),
        Row(name="mlp-1000/axis", subject=small, blocks=axis, targets=(8, 6)),
        Row(name="mlp-10000/axis", subject=large, blocks=axis, targets=(8, 6)),
        Row(name="resnet20/axis", subject=resnet20, blocks=axis, targets=(2.5, 2)),
        Row(name="gpt/axis", subject=gpt, blocks=axis, targets=(1.9, 1.8)),
        Row(
            name="resnet56-50000/plane/bfloat16",
            subject=resnet56,
            blocks=plane51,
            dtype=short,
            largest_error=1e-3,
            seconds_to_reach=90,
            needs_cuda=True,
        ),
    ]


def contests() -> list[Row]:
    """Short jobs on which `auto` is held against each single strategy."""
    return [
        Row(name="mlp-1000/auto", subject=partial(subjects.mlp, 1000), blocks=partial(plane, grid=31)),
        Row(name="resnet20/auto", subject=subjects.resnet20, blocks=partial(plane, grid=5)),
        Row(name="gpt/auto", subject=subjects.gpt, blocks=partial(plane, grid=11)),
    ]
