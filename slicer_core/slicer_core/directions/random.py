"""Random directions: N(0, 1) at every entry, a pure function of seed, axis, parameter name and element index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from slicer_core.philox import standard_normal

RECIPE = "philox4x32-10/box-muller/1"
"""Names the mapping from (seed, axis, name, index) to numbers; it changes if the numbers ever do."""


def random_tensor(name: str, shape: Sequence[int], *, seed: int, axis: int) -> Tensor:
    """The entry of one parameter, float32 on the CPU."""
    size = torch.Size(shape)
    values = standard_normal(f"{seed}/{axis}/{name}", 0, size.numel())
    return torch.from_numpy(values).to(torch.float32).reshape(size)


def random_direction(parameters: Mapping[str, Tensor], *, seed: int, axis: int) -> dict[str, Tensor]:
    """A direction with the names and shapes of `parameters`, before any normalization."""
    return {name: random_tensor(name, tensor.shape, seed=seed, axis=axis) for name, tensor in parameters.items()}
