"""What follows an operation in a graph and can be done where its result is written: a shortcut's sum, a ReLU or GELU.

Of its own, each would read and write the result once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx

Aten = torch.ops.aten

_ACTIVATIONS: Mapping[Any, str] = {Aten.relu.default: "relu", Aten.gelu.default: "gelu"}


class Tail(NamedTuple):
    """`nodes` follow one another, and nothing else reads what they are given.

    `added`: what one of them adds, that is there before the operation is run; `activation`: what the last is, if one.
    """

    nodes: tuple[fx.Node, ...] = ()
    added: fx.Node | None = None
    activation: str | None = None

    def keywords(self) -> dict[str, Any]:
        """What the operation has to be given besides."""
        activation = {} if self.activation is None else {self.activation: True}
        return activation if self.added is None else {"added": self.added, **activation}


def tail_of(
    node: fx.Node,
    absorbs: frozenset[Any],
    order: Mapping[fx.Node, int],
    results: Sequence[fx.Node],
    form: Callable[[fx.Node], Any],
) -> Tail:
    """That of a node, of operations that it `absorbs`.

    `order` numbers the general nodes as they are run, and `form` tells all of a node's result but its values.
    """
    found, last = Tail(), node
    while found.activation is None and last not in results and len(last.users) == 1:
        (user,) = last.users
        if user.target not in absorbs or user not in order or form(user) != form(node):
            break
        if user.target in _ACTIVATIONS:
            # GELU may be asked for by another formula.
            if user.kwargs.get("approximate", "none") != "none":
                break
            found = Tail((*found.nodes, user), found.added, _ACTIVATIONS[user.target])
        elif found.added is None and (added := _added(user, last)) is not None:
            if form(added) != form(node) or order.get(added, -1) > order[node]:
                break
            found = Tail((*found.nodes, user), added)
        else:
            break
        last = user
    return found


def passed_on(node: fx.Node, tail: Tail) -> Mapping[fx.Node, fx.Node]:
    """Node -> what it is the same as where the operation of `node` has done all of it."""
    return dict(zip(tail.nodes, (node, *tail.nodes), strict=False))


def _added(user: fx.Node, given: fx.Node) -> fx.Node | None:
    """What the node adds to what it is given, if it does nothing else."""
    if user.target is not Aten.add.Tensor or user.kwargs or given not in user.args:
        return None
    left, right = user.args
    other = right if left is given else left
    return other if isinstance(other, fx.Node) and other is not given else None
