"""Named tensors as vectors: selection by name, and the few operations of linear algebra that slices need.

A vector is a mapping of names to tensors. A name that is missing stands for a tensor of zeros, so that a direction
in one layer costs that layer only. Sums are taken in float64.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from slicer_core.errors import UsageError, suggestion

NamedTensors = Mapping[str, Tensor]


def dot(left: NamedTensors, right: NamedTensors) -> float:
    """Σ over the names that both have of the elementwise product, accumulated in float64."""
    total = 0.0
    for name, tensor in left.items():
        other = right.get(name)
        if other is not None:
            total += torch.dot(tensor.reshape(-1).double(), other.reshape(-1).double().to(tensor.device)).item()
    return total


def norm(vector: NamedTensors) -> float:
    """The 2-norm of all entries together, accumulated in float64."""
    return math.sqrt(sum(torch.sum(tensor.double() ** 2).item() for tensor in vector.values()))


def cosine(left: NamedTensors, right: NamedTensors) -> float:
    """The cosine of the angle between two vectors; NaN where one of them is zero."""
    scale = norm(left) * norm(right)
    return dot(left, right) / scale if scale > 0 else math.nan


def difference(end: NamedTensors, start: NamedTensors) -> dict[str, Tensor]:
    """`end - start` for the names of `start`, in the dtype of `start`."""
    return {name: end[name].to(tensor) - tensor for name, tensor in start.items()}


def select_names(
    names: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = (), *, option: str = "--params"
) -> list[str]:
    """The names that match any glob of `include` (all where it is empty) and none of `exclude`, in their order.

    Raises:
        UsageError: a glob matches no name, or nothing is left.
    """
    for label, globs in ((option, include), ("--exclude", exclude)):
        for glob in globs:
            if not any(fnmatch.fnmatchcase(name, glob) for name in names):
                raise UsageError(
                    f"{label} {glob!r} matches no parameter{suggestion(glob, names)}. "
                    f"The model has {len(names)}, for example {', '.join(names[:4])}"
                )
    chosen = [
        name
        for name in names
        if (not include or any(fnmatch.fnmatchcase(name, glob) for glob in include))
        and not any(fnmatch.fnmatchcase(name, glob) for glob in exclude)
    ]
    if not chosen:
        raise UsageError(f"{option} and --exclude leave no parameter of the {len(names)} that can vary")
    return chosen
