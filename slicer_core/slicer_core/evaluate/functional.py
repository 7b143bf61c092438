"""In-place operations of a captured graph rewritten as ones that make a new tensor, and dropouts that are off left out.

`ExportedProgram.run_decompositions` does the first too, for all cases, by tracing the graph twice more: three quarters
of the time that a capture takes. Here it is done where a look at who reads what shows that it changes nothing.
"""

from __future__ import annotations

import operator

import torch
from torch import Tensor, fx
from torch._ops import OpOverload  # the type of every node's target; torch gives it no public name

Aten = torch.ops.aten

# Their results have the dtype of the first argument, in place or not, if no other tensor is of another, a mask apart:
# in place, a result that is of another is an error.
_POINTWISE_NAMES = (
    "abs add addcdiv addcmul bitwise_and bitwise_not bitwise_or bitwise_xor celu clamp clamp_max clamp_min div elu exp "
    "gelu hardsigmoid hardswish hardtanh leaky_relu lerp log log1p masked_fill mish mul neg pow reciprocal relu relu6 "
    "rsqrt selu sigmoid silu sqrt square sub tanh threshold"
)
# Theirs have it whatever else they are given.
_PLACING_NAMES = "fill index_add index_copy index_fill index_put masked_scatter scatter scatter_add scatter_reduce zero"
_PLACING = frozenset(f"aten::{name}_" for name in _PLACING_NAMES.split())
_POINTWISE = frozenset(f"aten::{name}_" for name in _POINTWISE_NAMES.split())
_DROPOUTS = frozenset(
    f"aten::{name}{suffix}"
    for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
    for suffix in ("", "_")
)
_DROPOUT_TRAIN_POSITION = 2


def make_functional(graph: fx.Graph) -> bool:
    """Rewrites the graph in place, or returns False where it can't be seen to be safe; dropouts go in both cases.

    The nodes must carry the tensors that they were traced with, as those of `torch.export` do.
    """
    # First: what a dropout that is off gives is its input itself, so that a write to the one is a write to the other.
    for node in [node for node in graph.nodes if _is_idle_dropout(node)]:
        node.replace_all_uses_with(node.args[0])
        graph.erase_node(node)
    if graph.owning_module is not None:
        graph.owning_module.recompile()
    if any(node.op in ("get_attr", "call_module") for node in graph.nodes):
        return False
    order = {node: index for index, node in enumerate(graph.nodes)}
    memory = _memory(order)
    writing = [node for node in order if _is_mutable(node)]
    if not all(_is_replaceable(node, order, memory) for node in writing):
        return False
    for node in writing:
        written = node.args[0]
        for user in [user for user in written.users if order[user] > order[node]]:
            user.replace_input_with(written, node)
        node.target = _functional(node.target)
    return True


def _functional(target: OpOverload) -> OpOverload:
    """The operation that gives what `target` writes; overloads of one name may have another order of arguments."""
    packet = getattr(Aten, target._schema.name.removeprefix("aten::").removesuffix("_"))
    overloads = (getattr(packet, name) for name in packet.overloads())
    return next(each for each in overloads if _takes(each) == _takes(target))


def _takes(operation: OpOverload) -> list[tuple[str, str]]:
    return [(argument.name, str(argument.type)) for argument in operation._schema.arguments]


def _is_mutable(node: fx.Node) -> bool:
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def _is_idle_dropout(node: fx.Node) -> bool:
    if not isinstance(node.target, OpOverload) or node.target._schema.name not in _DROPOUTS:
        return False
    return len(node.args) > _DROPOUT_TRAIN_POSITION and node.args[_DROPOUT_TRAIN_POSITION] is False


def _is_replaceable(node: fx.Node, order: dict[fx.Node, int], memory: dict[fx.Node, fx.Node]) -> bool:
    """Whether nobody reads the written memory later but through the written tensor itself or the node's result."""
    written = node.args[0] if node.args else None
    if node.target is Aten.detach_.default:
        return True
    name: str = node.target._schema.name  # type: ignore[union-attr] - checked by the caller
    if name not in _POINTWISE | _PLACING or not isinstance(written, fx.Node):
        return False
    tensors = [entry.meta.get("val") for entry in node.all_input_nodes]
    dtypes = {tensor.dtype for tensor in tensors if isinstance(tensor, Tensor) and tensor.dtype is not torch.bool}
    if name in _POINTWISE and len(dtypes) > 1:
        return False
    for other, index in order.items():
        if index >= order[node] or memory[other] is not memory[written]:
            continue
        if other.op == "placeholder":
            return False
        if other is not written and any(order[user] > order[node] for user in other.users):
            return False
    return True


def _memory(order: dict[fx.Node, int]) -> dict[fx.Node, fx.Node]:
    """Node -> the first of those that may share its memory, by what the schemas of the operations say."""
    first: dict[fx.Node, fx.Node] = {}
    for node in order:
        shared = {first[entry] for entry in _may_alias(node) if entry in first}
        first[node] = min(shared, key=order.__getitem__, default=node)
        if len(shared) > 1:
            first |= {entry: first[node] for entry, root in first.items() if root in shared}
    return first


def _gives_new_tensors(node: object) -> bool:
    """Whether a call gives several tensors none of which lies in what it was given, or in another of them."""
    target = node.target if isinstance(node, fx.Node) else None
    if not isinstance(target, OpOverload) or torch.Tag.maybe_aliasing_or_mutating in target.tags:
        return False
    returns = target._schema.returns
    return len(returns) > 1 and all(entry.alias_info is None for entry in returns)


def _may_alias(node: fx.Node) -> list[fx.Node]:
    target = node.target
    if target is Aten.batch_norm.default:
        # Tagged for the running statistics that it may write, not for its result.
        return []
    if target is operator.getitem and _gives_new_tensors(node.args[0]):
        # Each of the results has a memory of its own.
        return [user for user in node.all_input_nodes[0].users if user is not node and user.args == node.args]
    if not isinstance(target, OpOverload) or torch.Tag.maybe_aliasing_or_mutating in target.tags:
        return node.all_input_nodes
    aliased: list[fx.Node] = []
    for position, argument in enumerate(target._schema.arguments):
        if argument.alias_info is not None:
            given = node.args[position] if position < len(node.args) else node.kwargs.get(argument.name)
            fx.map_arg(given, aliased.append)
    return aliased
