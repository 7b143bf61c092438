"""Where an affine node is dearer to combine than to run again, found by timing both on the real thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from slicer_core.evaluate.clock import clock
from slicer_core.evaluate.partition import Partition
from slicer_core.evaluate.prologue import Components, call

# Below this, combining costs no more than starting an operation.
_SMALL = 16_384
_REPEATS = 3
# Where one run takes so many times as long, no other one turns it round.
_CLEARLY = 8


def dear_nodes(
    parts: Partition,
    components: Mapping[fx.Node, Components],
    constants: Mapping[fx.Node, Any],
    seconds: Mapping[fx.Node, float],
) -> set[fx.Node]:
    """Affine calls that should rather be general: whole cones from the varied tensors up to a frontier node.

    `seconds`: what a run of each took when the components were computed.
    """
    dear: set[fx.Node] = set()
    for node in parts.frontier:
        value = components[node][0]
        if node in parts.varied or not isinstance(value, Tensor) or value.numel() <= _SMALL:
            continue
        cone = _cone(node, parts)
        combined = _seconds(_combination(components[node]), value.device)
        if sum(seconds.get(entry, 0.0) for entry in cone) > _CLEARLY * combined:
            continue
        again = _seconds(
            lambda cone=cone: _run(cone, parts, components, constants), value.device, enough=_CLEARLY * combined
        )
        if again < combined:
            dear.update(cone)
    return dear


def _combination(components: Components) -> Callable[[], Any]:
    """What a point costs for the node: one addition, the rest being shared along a row."""
    result = torch.empty_like(components[0])
    return lambda: torch.add(components[0], components[-1], alpha=0.5, out=result)


def _cone(node: fx.Node, parts: Partition) -> list[fx.Node]:
    """The affine calls that the node is computed from, itself included, in order."""
    affine = set(parts.affine) - parts.varied
    found, pending = {node}, [node]
    while pending:
        for entry in pending.pop().all_input_nodes:
            if entry in affine and entry not in found:
                found.add(entry)
                pending.append(entry)
    return [entry for entry in parts.affine if entry in found]


def _run(
    cone: list[fx.Node], parts: Partition, components: Mapping[fx.Node, Components], constants: Mapping[fx.Node, Any]
) -> None:
    values: dict[fx.Node, Any] = {node: components[node][0] for node in parts.varied if node in components}
    for node in cone:
        values[node] = call(node, lambda entry: values[entry] if entry in values else constants[entry])


def _seconds(run: Callable[[], Any], device: torch.device, *, enough: float = float("inf")) -> float:
    """The least of several runs, or the first that takes longer than `enough`."""
    best = float("inf")
    for _ in range(_REPEATS):
        start = clock(device)
        run()
        spent = clock(device) - start
        best = min(best, spent)
        if spent > enough:
            break
    return best
