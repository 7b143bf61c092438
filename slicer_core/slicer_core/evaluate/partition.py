"""The nodes of a trace by how they depend on the coefficients of the directions: constant, affine or general."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree  # the flattening that torch.export itself uses

from slicer_core.evaluate.affine import is_affine, is_still
from slicer_core.evaluate.trace import Trace

# Operations whose first argument is picked from by the second.
_MASKED = (torch.ops.aten.index.Tensor, torch.ops.aten.masked_select.default)


@dataclass(frozen=True, kw_only=True, eq=False)
class Partition:
    """Node sets of a trace for one set of varied tensors; what is in none of them is constant.

    `affine`: their values are c₀ + Σ αⱼ cⱼ, placeholders of varied tensors among them. `general`: all else that moves,
    in order. `frontier`: the affine nodes that a general node or an output reads.
    """

    varied: frozenset[fx.Node]
    affine: tuple[fx.Node, ...]
    general: tuple[fx.Node, ...]
    frontier: tuple[fx.Node, ...]
    constants: tuple[fx.Node, ...] = field(repr=False)

    def kind(self, node: fx.Node) -> str:
        """`constant`, `affine` or `general`, for reports and tests."""
        if node in self.affine:
            return "affine"
        return "general" if node in self.general else "constant"


def partition(trace: Trace, varied: Set[str], denied: Set[fx.Node] = frozenset()) -> Partition:
    """Classifies the nodes where the named tensors move; nodes in `denied` are general even if they could be affine."""
    roots = frozenset(node for name, node in trace.states.items() if name in varied)
    affine: dict[fx.Node, None] = dict.fromkeys(node for node in trace.states.values() if node in roots)
    general: dict[fx.Node, None] = {}
    for node in trace.nodes:
        inputs = node.all_input_nodes
        if any(entry in general for entry in inputs):
            general[node] = None
        elif any(entry in affine for entry in inputs) and not is_still(node):
            claimed = node not in denied and is_affine(node, {entry for entry in inputs if entry in affine})
            (affine if claimed else general)[node] = None
    moving = affine.keys() | general.keys()
    results = [node for pair in trace.outputs.values() for node in pair]
    read = {entry for node in general for entry in node.all_input_nodes} | set(results)
    # Constants that a moving node or a result reads directly: all that has to be kept of the constant part.
    boundary = {entry for node in moving for entry in node.all_input_nodes if entry not in moving}
    boundary |= {node for node in results if node not in moving}
    return Partition(
        varied=roots,
        affine=tuple(affine),
        general=tuple(general),
        frontier=tuple(node for node in affine if node in read),
        constants=tuple(boundary),
    )


def moving_shape(trace: Trace, parts: Partition) -> fx.Node | None:
    """A general node whose result has another shape at other points, as what a mask of moving values picks has."""
    if not any(_is_symbolic(node.meta.get("val")) for node in trace.nodes):
        return None
    # Imports more than most commands need.
    from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

    moving = {*parts.affine, *parts.general}
    still: set[object] = set()
    for node in trace.nodes:
        value: Any = node.meta.get("val", ())
        symbols = free_unbacked_symbols(value)
        # A size that is first seen in what does not move, or that such a mask gives, is the batch's own.
        if not any(entry in moving for entry in _shape_inputs(node)):
            still |= symbols
        elif isinstance(value, Tensor) and not symbols <= still:
            return node
    return None


def _is_symbolic(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_is_symbolic(entry) for entry in value)
    if isinstance(value, Tensor):
        return not all(type(size) is int for size in (*value.shape, *value.stride()))
    return isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool))


def _shape_inputs(node: fx.Node) -> list[fx.Node]:
    """The inputs whose values, not only their shapes, the result's shape may depend on."""
    if node.target in _MASKED:
        return [entry for entry in pytree.tree_leaves(node.args[1]) if isinstance(entry, fx.Node)]
    return node.all_input_nodes
