"""Random directions: N(0, 1) at every entry, a pure function of seed, axis, parameter name and element index."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slicer_core.parameters import LazyTensors, NamedTensors, shapes_of
from slicer_core.philox import standard_normal

RECIPE = "philox4x32-10/box-muller/1"
"""Names the mapping from (seed, axis, name, index) to numbers; it changes if the numbers ever do."""


def random_rows(name: str, shape: Sequence[int], start: int, stop: int, *, seed: int, axis: int) -> Tensor:
    """Rows `start` to `stop` of the entry of one parameter, float32 on the CPU; (0, 1) where it has no dimension."""
    row = torch.Size(shape[1:])
    values = standard_normal(f"{seed}/{axis}/{name}", start * row.numel(), (stop - start) * row.numel())
    return torch.from_numpy(values).to(torch.float32).reshape((stop - start, *row) if shape else ())


def random_direction(parameters: NamedTensors, *, seed: int, axis: int) -> NamedTensors:
    """A direction with the names and shapes of `parameters`, before any normalization; lazy where they are."""
    shapes = shapes_of(parameters)

    def rows(name: str, start: int, stop: int) -> Tensor:
        return random_rows(name, shapes[name].shape, start, stop, seed=seed, axis=axis)

    lazy = LazyTensors({name: torch.empty(like.shape, device="meta") for name, like in shapes.items()}, rows)
    return lazy if isinstance(parameters, LazyTensors) else dict(lazy)
