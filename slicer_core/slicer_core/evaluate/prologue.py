"""What is computed once a batch: the constant part of the graph, and the components of its affine part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, backends, fx

from slicer_core.evaluate.clock import clock
from slicer_core.evaluate.finite import is_finite
from slicer_core.evaluate.origin import value_at_origin
from slicer_core.evaluate.partition import Partition
from slicer_core.evaluate.trace import Trace, batch_tensors
from slicer_core.parameters import NamedTensors
from slicer_core.subject import TF32_RELATIVE, Batch

Values = dict[fx.Node, Any]
Components = list[Any]
"""[c₀, c₁, …]: the value at the center, and what each direction adds for a coefficient of one."""

StillParts = dict[fx.Node, tuple[Any, Any]]
"""Of affine nodes, f(0) and f(v₀), which are the same for all directions in the same tensors on a batch."""

# What would make them larger is computed again rather than kept.
_KEPT_BYTES = 64 * 2**20
_CHECK_SEED = 20_240
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


class NotAffineError(Exception):
    """A node that is claimed to be affine is not; it carries the node."""

    def __init__(self, node: fx.Node) -> None:
        super().__init__(str(node.target))
        self.node = node


def center_values(
    trace: Trace,
    state: NamedTensors,
    batch: Batch,
    wanted: Iterable[fx.Node],
    known: Values | None = None,
    entered: Values | None = None,
) -> Values:
    """The values of the wanted nodes at the center; what only led to them is let go as soon as it was read.

    `known`: values at the same center on the same batch, from which the walk starts instead of from the inputs.
    `entered`, where it is given, gets the values of nodes in which parameters meet the data: a block that moves these
    parameters begins with them.
    """
    keep = set(wanted)
    known = known or {}
    entered = {} if entered is None else entered
    room = _KEPT_BYTES - num_bytes(entered.values())
    values: Values = dict(trace.constants)
    values |= {node: state[name] for name, node in trace.states.items()}
    values |= dict(zip(trace.leaves, batch_tensors(batch), strict=True))
    values |= known
    needed = _ancestors(trace, keep, known)
    remaining = _reads(needed)
    of_state = set(trace.states.values())
    for node in needed:
        values[node] = call(node, values.__getitem__)
        from_state = [entry in of_state for entry in node.all_input_nodes]
        if from_state and all(from_state):
            of_state.add(node)
        elif any(from_state) and (room := room - num_bytes([values[node]])) >= 0:
            entered[node] = values[node]
        for entry in node.all_input_nodes:
            remaining[entry] -= 1
            if remaining[entry] == 0 and entry not in keep and entry.op != "placeholder":
                del values[entry]
    return {node: values[node] for node in keep}


def affine_components(
    trace: Trace,
    parts: Partition,
    constants: Mapping[fx.Node, Any],
    state: NamedTensors,
    directions: Sequence[NamedTensors],
    *,
    checked: bool,
    still: StillParts,
    entered: Values | None = None,
    seconds: dict[fx.Node, float] | None = None,
) -> dict[fx.Node, Components]:
    """The components of the varied tensors and of the frontier's nodes.

    cⱼ = f(vⱼ) - f(0) for the node's moving inputs v, the others at their constant values: exact for what is affine,
    without a rule for each operation. `checked` holds each node against f at a random point. `still` has what an
    earlier block of the same tensors and the same batch left there, and gets more; `entered` is that of
    `center_values`. `seconds`, where it is given, gets what each node took for the last direction.

    Raises:
        NotAffineError: a node fails the check, or is not finite at the origin on this batch.
    """
    found: dict[fx.Node, Components] = {}
    for name, node in trace.states.items():
        if node in parts.varied:
            base = state[name]
            found[node] = [base, *(direction.get(name, torch.zeros_like(base)) for direction in directions)]
    keep = set(parts.frontier) | parts.varied
    calls = _leading_calls(parts)
    remaining = _reads(calls)
    generator = torch.Generator().manual_seed(_CHECK_SEED)
    for node in calls:
        components = _node_components(node, found, constants, len(directions), still, entered or {}, seconds)
        if checked:
            weights = torch.rand(len(directions), generator=generator).tolist()
            _check(node, components, found, constants, weights)
        found[node] = components
        for entry in node.all_input_nodes:
            remaining[entry] -= 1
            if remaining[entry] == 0 and entry not in keep and entry in found:
                del found[entry]
    return {node: found[node] for node in (*parts.varied, *parts.frontier)}


def call(node: fx.Node, value: Callable[[fx.Node], Any], *, function: Callable[..., Any] | None = None) -> Any:
    """The node's operation, or another in its place, on the values of its inputs."""
    operation = function or node.target
    assert callable(operation)
    args = fx.map_arg(node.args, value)
    kwargs = fx.map_arg(node.kwargs, value)
    return operation(*args, **kwargs)


def _node_components(
    node: fx.Node,
    found: Mapping[fx.Node, Components],
    constants: Mapping[fx.Node, Any],
    num_directions: int,
    still: StillParts,
    entered: Values,
    seconds: dict[fx.Node, float] | None,
) -> Components:
    def at(index: int) -> Any:
        return call(node, lambda entry: found[entry][index] if entry in found else constants[entry])

    def zeros(entry: fx.Node) -> Any:
        return _map(torch.zeros_like, found[entry][0]) if entry in found else constants[entry]

    if node in still:
        origin, center = still[node]
    else:
        center = entered[node] if node in entered else at(0)
        origin = value_at_origin(node, found.keys(), zeros, center)
        if origin is None:
            origin = call(node, zeros)
        if not all(map(is_finite, _tensors(origin))):
            # A mask of -inf, say: nothing can be told from differences to it.
            raise NotAffineError(node)
        kept = (part for pair in (*still.values(), (origin, center)) for part in pair)
        if num_bytes(kept) <= _KEPT_BYTES:
            still[node] = (origin, center)
    device = next((tensor.device for tensor in _tensors(center)), torch.device("cpu"))
    components = [center]
    for index in range(1, num_directions + 1):
        start = 0.0 if seconds is None else clock(device)
        moved = at(index)
        if seconds is not None:
            seconds[node] = clock(device) - start
        components.append(_map(torch.sub, moved, origin))
    return components


def _check(
    node: fx.Node,
    components: Components,
    found: Mapping[fx.Node, Components],
    constants: Mapping[fx.Node, Any],
    weights: Sequence[float],
) -> None:
    direct = call(node, lambda entry: _combine(found[entry], weights) if entry in found else constants[entry])
    pairs = zip(_tensors(direct), _tensors(_combine(components, weights)), strict=True)
    for expected, ours in pairs:
        if expected.numel() == 0:
            continue
        if not expected.is_floating_point():
            # Of several results, one may say where the entries lie.
            if isinstance(direct, Tensor) or not torch.equal(expected, ours):
                raise NotAffineError(node)
            continue
        tolerance = _tolerance(expected.dtype)
        scale = expected.abs().amax().item()
        error = (expected - ours).abs().amax().item()
        # Written so that a NaN fails.
        if not error <= tolerance * scale + tolerance * 1e-2:
            raise NotAffineError(node)


def _tolerance(dtype: torch.dtype) -> float:
    """What rounding may be, of the largest value."""
    if dtype is torch.float32 and backends.cuda.matmul.fp32_precision == "tf32":
        return TF32_RELATIVE
    return _TOLERANCE.get(dtype, 1e-4)


def _combine(components: Components, weights: Sequence[float]) -> Any:
    total = components[0]
    for weight, component in zip(weights, components[1:], strict=True):
        total = _map(lambda sum_, part, weight=weight: torch.add(sum_, part, alpha=weight), total, component)
    return total


def _map(function: Callable[..., Tensor], first: Any, *others: Any) -> Any:
    """Elementwise over a tensor, or over a list of tensors."""
    if isinstance(first, Tensor):
        return function(first, *others) if first.is_floating_point() else first
    return type(first)(_map(function, *entries) for entries in zip(first, *others, strict=True))


def _tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [entry for entry in value if isinstance(entry, Tensor)]


def num_bytes(values: Iterable[Any]) -> int:
    """Of tensors, and of the tensors in lists."""
    return sum(tensor.nbytes for value in values for tensor in _tensors(value))


def _ancestors(trace: Trace, wanted: set[fx.Node], known: Values) -> list[fx.Node]:
    """The calls that the wanted nodes need beyond what is known, in order."""
    needed = wanted - known.keys()
    for node in reversed(trace.nodes):
        if node in needed:
            needed.update(entry for entry in node.all_input_nodes if entry not in known)
    return [node for node in trace.nodes if node in needed]


def _leading_calls(parts: Partition) -> list[fx.Node]:
    """The affine calls that a frontier node is computed from, frontier nodes among them, in order."""
    leading = set(parts.frontier)
    for node in reversed(parts.affine):
        if node in leading:
            leading.update(node.all_input_nodes)
    return [node for node in parts.affine if node in leading and node not in parts.varied]


def _reads(nodes: Iterable[fx.Node]) -> dict[fx.Node, int]:
    counts: dict[fx.Node, int] = {}
    for node in nodes:
        for entry in node.all_input_nodes:
            counts[entry] = counts.get(entry, 0) + 1
    return counts
