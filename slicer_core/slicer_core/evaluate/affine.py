"""Which operations are affine in which of their arguments, the others held fixed.

A row is a claim, not a proof: the components of every node are computed from the operation itself, and are checked at
a random point before they are used. An operation without a row is general: slower, never wrong.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator

from torch import fx
from torch._ops import OpOverload  # the type of every node's target; torch gives it no public name

# Name of the operation (any overload) -> groups of argument positions; it is affine in all of a group together.
_GROUPS: dict[str, tuple[frozenset[int], ...]] = {}


def _claim(names: str, *groups: tuple[int, ...]) -> None:
    for name in names.split():
        _GROUPS[f"aten::{name}"] = tuple(frozenset(group) for group in groups)


_claim("add sub", (0, 1))
_claim("mul matmul mm bmm dot mv", (0,), (1,))
_claim("linear conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d", (0, 2), (1, 2))
_claim("addmm baddbmm addbmm addmv", (0, 1), (0, 2))
_claim("_native_batch_norm_legit_no_training batch_norm", (0, 2), (1, 2))
_claim("layer_norm native_layer_norm", (2, 3))
_claim("group_norm", (2, 3))
_claim("native_group_norm", (1, 2))
_claim("where", (1, 2))
_claim("_weight_norm", (1,))
_claim("embedding cat stack", (0,))
_claim(
    "view reshape _unsafe_view transpose t permute unsqueeze squeeze select slice clone contiguous expand flatten "
    "unflatten alias detach neg sum mean _to_copy div masked_fill constant_pad_nd avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d "
    "upsample_nearest3d upsample_bilinear2d index index_select gather unfold roll flip cumsum narrow diagonal "
    "movedim tril triu split split_with_sizes chunk unbind repeat pixel_shuffle",
    (0,),
)


def is_affine(node: fx.Node, moving: set[fx.Node]) -> bool:
    """Whether a call is claimed to be affine in those of its inputs that are in `moving`, together."""
    if node.target is operator.getitem:
        return True
    if not isinstance(node.target, OpOverload):
        return False
    groups = _GROUPS.get(node.target._schema.name)
    if groups is None or any(inner in moving for value in node.kwargs.values() for inner in _nodes_in(value)):
        return False
    positions = {
        position for position, value in enumerate(node.args) if any(inner in moving for inner in _nodes_in(value))
    }
    return any(positions <= group for group in groups)


def _nodes_in(value: object) -> Iterator[fx.Node]:
    if isinstance(value, fx.Node):
        yield value
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _nodes_in(entry)
