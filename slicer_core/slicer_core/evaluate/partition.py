"""The nodes of a trace by how they depend on the coefficients of the directions: constant, affine or general."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from torch import fx

from slicer_core.evaluate.affine import is_affine
from slicer_core.evaluate.trace import Trace


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
        elif any(entry in affine for entry in inputs):
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
