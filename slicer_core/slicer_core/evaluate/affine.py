"""Which operations are affine in which of their arguments, the others held fixed.

A row is a claim, not a proof: the components of every node are computed from the operation itself, and are checked at
a random point before they are used. An operation without a row is general: slower, never wrong.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator

import torch
from torch import Tensor, fx
from torch._ops import OpOverload  # the type of every node's target; torch gives it no public name

# Name of the operation (any overload) -> groups of argument positions; it is affine in all of a group together.
_GROUPS: dict[str, tuple[frozenset[int], ...]] = {}


def _claim(names: str, *groups: tuple[int, ...]) -> None:
    for name in names.split():
        _GROUPS[f"aten::{name}"] = tuple(frozenset(group) for group in groups)


_claim("add sub subtract rsub", (0, 1))
_claim("mul multiply matmul mm bmm dot vdot inner mv outer ger kron cross linalg_cross tensordot", (0,), (1,))
_claim("linear conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d", (0, 2), (1, 2))
_claim("addmm baddbmm addbmm addmv addr addcmul", (0, 1), (0, 2))
_claim("addcdiv", (0, 1))
_claim("lerp", (0, 1), (2,))
_claim("bilinear", (0, 3), (1, 3), (2, 3))
_claim("layer_norm native_layer_norm group_norm", (2, 3))
_claim("native_group_norm", (1, 2))
_claim("rms_norm", (2,))
_claim("where", (1, 2))
_claim("masked_fill", (0, 2))
_claim("_weight_norm _weight_norm_interface", (1,))
# Of its values: the weights of the attention are those of queries and keys.
_claim("scaled_dot_product_attention", (2,))
_claim("expand_as view_as reshape_as select_scatter slice_scatter diagonal_scatter", (0, 1))
_claim("index_put", (0, 2))
_claim("index_add index_copy index_fill scatter scatter_add", (0, 3))
_claim("scatter_reduce", (0, 3))
# Of the table, and of the weights of the rows.
_claim("embedding_bag _embedding_bag _embedding_bag_forward_only", (0,), (6,))
# Lists of tensors are one argument.
_claim("cat concat concatenate stack hstack vstack dstack column_stack block_diag embedding", (0,))
# Of one argument, whatever they need to know besides: parts, orders and shapes of it,
_claim(
    "view reshape _unsafe_view transpose t permute numpy_T mT swapaxes swapdims movedim moveaxis unsqueeze squeeze "
    "select slice narrow clone contiguous expand broadcast_to flatten unflatten ravel alias detach lift_fresh "
    "lift_fresh_copy dropout alpha_dropout feature_dropout _to_copy to type_as index index_select gather take "
    "take_along_dim unfold im2col col2im roll flip fliplr flipud rot90 diag diagonal diag_embed tril triu split "
    "split_with_sizes tensor_split chunk unsafe_split unsafe_chunk unbind repeat tile repeat_interleave "
    "pixel_shuffle pixel_unshuffle channel_shuffle constant_pad_nd pad",
    (0,),
)
# and sums with fixed weights.
_claim(
    "neg negative positive div divide true_divide sum sum_to_size mean cumsum diff trace avg_pool1d avg_pool2d "
    "avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d "
    "upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d "
    "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d grid_sampler",
    (0,),
)
# Norms by running statistics that stand still; the mean is subtracted from the input.
_NORMS = {"aten::batch_norm": 5, "aten::instance_norm": 5, "aten::_native_batch_norm_legit_no_training": None}
_BY_STATISTICS = (frozenset({0, 2, 3}), frozenset({1, 2}))
_BY_INPUT = (frozenset({1, 2}),)
# What turns an operation into another one: rounding, a reduction other than a sum, bits taken for another type.
_OTHER_OVERLOADS = frozenset({"aten::view.dtype", "aten::scatter.reduce", "aten::scatter.value_reduce"})
# Names of operations that reduce in one of several ways -> the argument that says which, and the ways that are affine.
_SUMS_OR_MEANS = (4, (0, 1))
_REDUCTIONS: dict[str, tuple[int, tuple[object, ...]]] = {
    "aten::embedding_bag": _SUMS_OR_MEANS,
    "aten::_embedding_bag": _SUMS_OR_MEANS,
    "aten::_embedding_bag_forward_only": _SUMS_OR_MEANS,
    "aten::scatter_reduce": (4, ("sum", "mean")),
}
# Of the tensor they are given, these take the shape and the type alone.
_BY_SHAPE = frozenset(f"aten::{name}" for name in ["zeros_like", "ones_like", "new_zeros", "new_ones"])
_HALF = (torch.float16, torch.bfloat16)


def is_still(node: fx.Node) -> bool:
    """Whether a call gives the same, however its inputs move."""
    return isinstance(node.target, OpOverload) and node.target._schema.name in _BY_SHAPE


def is_affine(node: fx.Node, moving: set[fx.Node]) -> bool:
    """Whether a call is claimed to be affine in those of its inputs that are in `moving`, together."""
    if node.target is operator.getitem:
        return True
    if not isinstance(node.target, OpOverload) or _is_rounded(node) or any(map(_is_half, moving)):
        return False
    if any(inner in moving for value in node.kwargs.values() for inner in _nodes_in(value)):
        return False
    name = node.target._schema.name
    if name == "aten::einsum":
        return sum(inner in moving for inner in _nodes_in(node.args[1])) == 1
    positions = {
        position for position, value in enumerate(node.args) if any(inner in moving for inner in _nodes_in(value))
    }
    return any(positions <= group for group in _groups(node, name))


def _groups(node: fx.Node, name: str) -> tuple[frozenset[int], ...]:
    if name in _NORMS:
        switch = _NORMS[name]
        return _BY_STATISTICS if switch is None or node.args[switch] is False else _BY_INPUT
    if name in _REDUCTIONS:
        position, ways = _REDUCTIONS[name]
        if len(node.args) > position and node.args[position] not in ways:
            return ()
    return _GROUPS.get(name, ())


def _is_rounded(node: fx.Node) -> bool:
    assert isinstance(node.target, OpOverload)
    if node.target.name() in _OTHER_OVERLOADS or node.kwargs.get("rounding_mode") is not None:
        return True
    return _is_half(node)


def _is_half(node: fx.Node) -> bool:
    """Differences of numbers of eleven bits or fewer are no components of anything, nor is what is made of such."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype in _HALF


def _nodes_in(value: object) -> Iterator[fx.Node]:
    if isinstance(value, fx.Node):
        yield value
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _nodes_in(entry)
