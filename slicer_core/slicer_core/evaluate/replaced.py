"""Operations of a graph that are run by functions of our own, which write where they are told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

Form = tuple[Any, ...]
"""Shape, dtype, device and strides of a tensor."""

Forms = Callable[[fx.Node], Form]
"""That of what a node gives."""

Call = Callable[..., Tensor]
"""What is called in place of an operation: with its arguments, and the keywords of a `Tail`."""


class Replacement(NamedTuple):
    """`into` makes the call from the place of the result; `absorbs`: operations that may be a part of its tail.

    `passed_on`: nodes that the call computes for itself, and what is handed to it in their place.
    """

    into: Callable[[Tensor], Call]
    absorbs: frozenset[Any] = frozenset()
    passed_on: Mapping[fx.Node, fx.Node] = {}


Replaced = Mapping[fx.Node, Replacement]
Replacing = Callable[[Sequence[fx.Node], Forms, Mapping[fx.Node, Any]], Replaced]
"""What finds them among nodes that run one after another; it is given what is the same at all points, too."""


def has_no_gaps(form: Form) -> bool:
    """Whether the tensor's numbers lie one after another, in the order of its dimensions."""
    size, _, _, strides = form
    return torch.empty_strided(size, strides, device="meta").is_contiguous()
