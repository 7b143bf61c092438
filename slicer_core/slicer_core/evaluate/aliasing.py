"""Which results of a graph's general nodes share memory, seen in one real run of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from slicer_core.evaluate.matrix_layout import laid_out
from slicer_core.evaluate.partition import Partition

Aten = torch.ops.aten

FOREVER = -1
"""The group of what shares memory with a constant: never to be written."""


@dataclass(frozen=True, kw_only=True)
class SeenRun:
    """What the run has shown; it holds for all values of the same shapes, dtypes and strides.

    What is of one number in `groups` may share memory; `aliases` lie wholly in what they are computed from. `forms`:
    `form_of` each tensor.
    """

    groups: Mapping[fx.Node, int]
    forms: Mapping[fx.Node, tuple[Any, ...]]
    aliases: frozenset[fx.Node]


SeenRuns = dict[tuple[Any, ...], SeenRun]
"""By the partition, and by the forms of all that its general nodes are given."""


def seen_run(
    parts: Partition,
    views: Mapping[fx.Node, Tensor],
    constants: Mapping[fx.Node, Any],
    last_read: Mapping[fx.Node, int],
    call: Callable[[fx.Node, Mapping[fx.Node, Any]], Any],
) -> SeenRun:
    """Runs the plain operations by `call(node, values)`, with the frontier's values in `views`."""
    groups = {node: index for index, node in enumerate(views)}
    forms = {node: form_of(view) for node, view in views.items()}
    aliases: set[fx.Node] = set()
    values: dict[fx.Node, Any] = dict(views)
    for index, node in enumerate(parts.general):
        result = call(node, values)
        inputs = node.all_input_nodes
        if node.target is Aten.linear.default and isinstance(result, Tensor):
            result = laid_out(node, values.get(inputs[0]), result)
        lies_in = memory_of(result)
        moving = {entry: memory_of(values[entry]) for entry in inputs if entry in values}
        shared = {groups[entry] for entry, memory in moving.items() if memory & lies_in}
        if any(memory_of(constants[entry]) & lies_in for entry in inputs if entry not in values):
            shared.add(FOREVER)
        groups[node] = _joined(groups, shared) if shared else len(groups) + len(views)
        if lies_in and lies_in <= {pointer for memory in moving.values() for pointer in memory}:
            aliases.add(node)
        if isinstance(result, Tensor):
            forms[node] = form_of(result)
        values[node] = result
        for entry in inputs:
            if last_read[entry] == index and entry not in views:
                values.pop(entry, None)
    return SeenRun(groups=groups, forms=forms, aliases=frozenset(aliases))


def last_reads(parts: Partition, results: tuple[fx.Node, ...]) -> dict[fx.Node, int]:
    """Node -> the position of the general node that reads it last; the results are read after all of them."""
    last: dict[fx.Node, int] = {}
    for index, node in enumerate(parts.general):
        last |= dict.fromkeys(node.all_input_nodes, index)
    return last | dict.fromkeys(results, len(parts.general))


def form_of(tensor: Tensor) -> tuple[Any, ...]:
    """What memory that another tensor like it is written to has to have."""
    return tuple(tensor.shape), tensor.dtype, tensor.device, tensor.stride()


def form_of_value(value: Any) -> Any:
    """`form_of` each tensor in it; what is no tensor stands for itself."""
    if isinstance(value, Tensor):
        return form_of(value)
    return tuple(map(form_of_value, value)) if isinstance(value, (list, tuple)) else value


def memory_of(value: Any) -> set[int]:
    """The addresses of the storages that the value's tensors lie in."""
    if isinstance(value, Tensor):
        return {value.untyped_storage().data_ptr()} if value.numel() else set()
    if isinstance(value, (list, tuple)):
        return {pointer for entry in value for pointer in memory_of(entry)}
    return set()


def _joined(groups: dict[fx.Node, int], shared: set[int]) -> int:
    """Several at once are parts of one buffer; which of them it is can't be seen, so they live and die together."""
    group = min(shared)
    for entry, other in groups.items():
        if other in shared:
            groups[entry] = group
    return group
