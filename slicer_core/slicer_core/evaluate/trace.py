"""The loss of a batch as a graph of operations on named tensors, recorded once or captured by `torch.export`.

The graph runs without the model's Python code, so it is held against the user's own forward on every batch; what
can't be captured raises `NotTraceableError` with the reason, and the plain loop takes over.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export
from torch.export.graph_signature import InputKind, OutputKind

from slicer_core.collector import collector_paused
from slicer_core.evaluate.crossentropy import split_cross_entropy
from slicer_core.evaluate.effects import effect
from slicer_core.evaluate.fold import fold_batchnorm
from slicer_core.evaluate.functional import make_functional
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.recording import record
from slicer_core.evaluate.shortage import is_shortage
from slicer_core.evaluate.uncompiled import told_of_capture, uncompiled
from slicer_core.parameters import NamedTensors
from slicer_core.subject import Batch
from slicer_core.subject.nesting import flatten, leaves_of, unflatten

_LOGGERS = ("torch.export", "torch.fx", "torch._dynamo", "torch._export", "torch._subclasses")
# Of sizes that are not recorded, so many have a capture each.
_EXPORTED_SIZES = 2


class NotTraceableError(Exception):
    """Why the loss of a batch has no graph."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A functional graph: no mutation, no randomness.

    `nodes` are its calls in order. `states` and `leaves` are the placeholders of named tensors and of the batch's
    tensors, `constants` those of tensors that the model holds besides. `outputs`: quantity -> (sums, counts).
    """

    nodes: tuple[fx.Node, ...]
    states: Mapping[str, fx.Node]
    leaves: tuple[fx.Node, ...]
    constants: Mapping[fx.Node, Tensor]
    outputs: Mapping[str, tuple[fx.Node, fx.Node]]

    @cached_property
    def labels(self) -> Mapping[fx.Node, str]:
        """What is called, and which of those calls it is: the same in traces for other sizes of batches.

        Names of nodes also count the arithmetic on sizes.
        """
        counts: dict[str, int] = {}
        labels = {}
        for node in self.nodes:
            target = str(node.target)
            labels[node] = f"{target} {counts.setdefault(target, 0)}"
            counts[target] += 1
        return labels


class Tracer:
    """Keeps one trace for each kind of state and batch: structure, shapes, dtypes and all that is not a tensor in it.

    A trace for one size is recorded, or else exported in a third of the time of one that leaves the size open, before
    which torch's compiler has to be imported. So the first `closed_sizes` sizes, or the first two where they can't be
    recorded, have one each, and all others share one if the model's code lets them, or else have one each too.
    """

    def __init__(self, closed_sizes: int = 32) -> None:
        self._traces: dict[Any, Trace | NotTraceableError] = {}
        self._closed_sizes = closed_sizes
        self._num_sizes: dict[Any, int] = {}
        self._unrecorded: set[Any] = set()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was captured yet."""
        return not self._traces

    def knows(self, state: NamedTensors, batch: Batch) -> bool:
        """Whether a trace that fits the batch is there already."""
        return self._known(state, batch) is not None

    def records(self, objective: Objective, state: NamedTensors, batch: Batch) -> bool:
        """Whether a trace that fits the batch is there already, or now is, since it could be recorded."""
        return self.knows(state, batch) or self._record(objective, state, batch) is not None

    def trace(self, objective: Objective, state: NamedTensors, batch: Batch) -> Trace:
        """The trace that fits the batch.

        Raises:
            NotTraceableError: the loss has no graph.
        """
        trace = self._known(state, batch) or self._record(objective, state, batch)
        if trace is not None:
            return trace
        keys = {dynamic: _key(state, batch, dynamic=dynamic) for dynamic in (False, True)}
        is_closed = self._count(keys[True]) < min(self._closed_sizes, _EXPORTED_SIZES)
        found: Trace | NotTraceableError = NotTraceableError("nothing was tried")
        for dynamic in (False,) if is_closed else reversed(_ways(batch)):
            if keys[dynamic] not in self._traces:
                self._traces[keys[dynamic]] = _attempt(objective, dict(state), batch, dynamic=dynamic)
            found = self._traces[keys[dynamic]]
            if isinstance(found, Trace):
                break
        self._num_sizes[keys[True]] = self._count(keys[True]) + 1
        if isinstance(found, Trace):
            return found
        raise found

    def _known(self, state: NamedTensors, batch: Batch) -> Trace | None:
        found = (self._traces.get(_key(state, batch, dynamic=dynamic)) for dynamic in _ways(batch))
        return next((trace for trace in found if isinstance(trace, Trace)), None)

    def _record(self, objective: Objective, state: NamedTensors, batch: Batch) -> Trace | None:
        kind = _key(state, batch, dynamic=True)
        can_be_open = not isinstance(self._traces.get(kind), NotTraceableError)
        if kind in self._unrecorded or (can_be_open and self._count(kind) >= self._closed_sizes):
            return None
        try:
            found = _recorded(objective, dict(state), batch)
        except Exception as error:  # noqa: BLE001 - whatever the model's code raises at the sight of no values
            # A smaller batch may fit the memory.
            if not is_shortage(error):
                self._unrecorded.add(kind)
            return None
        self._traces[_key(state, batch, dynamic=False)] = found
        self._num_sizes[kind] = self._count(kind) + 1
        return found

    def _count(self, kind: Any) -> int:
        return self._num_sizes.get(kind, 0)


def _attempt(
    objective: Objective, state: dict[str, Tensor], batch: Batch, *, dynamic: bool
) -> Trace | NotTraceableError:
    try:
        return _exported(objective, state, batch, dynamic=dynamic)
    except NotTraceableError as reason:
        return reason
    except Exception as error:  # noqa: BLE001 - torch.export raises whatever the model's code or its own leads to
        text = str(error.__cause__ or error).strip()
        return NotTraceableError(text.splitlines()[0][:200] if text else type(error).__name__)


def _ways(batch: Batch) -> tuple[bool, ...]:
    """Whether the size may be open in a trace for the batch. torch.export takes an open size to be 2 or more."""
    return (False, True) if batch.num_samples > 1 else (False,)


def batch_tensors(batch: Batch) -> list[Tensor]:
    """The tensors of a batch in the order of a trace's `leaves`."""
    return [leaf for leaf in leaves_of(batch.data) if isinstance(leaf, Tensor)]


class _Whole(nn.Module):
    """State and batch as inputs, so that the graph has a placeholder for each."""

    def __init__(self, objective: Objective, batch: Batch, quantities: dict[str, None]) -> None:
        super().__init__()
        # In a tuple, so that the model's own tensors are not taken for this module's.
        self._objective = (objective,)
        self._num_samples = batch.num_samples
        # The names of what is returned; in a tuple, since torch.export puts a module's own attributes back.
        self._quantities = (quantities,)
        self._leaves, self._structure = flatten(batch.data)
        self._sized = next(
            (index for index, tensor in enumerate(batch_tensors(batch)) if _is_sized(tensor, batch.num_samples)), None
        )

    def forward(self, state: dict[str, Tensor], tensors: list[Tensor]) -> list[Tensor]:
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        data = unflatten(leaves, self._structure)
        size = self._num_samples if self._sized is None else tensors[self._sized].shape[0]
        objective = self._objective[0]

        def run() -> list[Tensor]:
            terms = objective.terms(Batch(data=data, num_samples=size))
            self._quantities[0].update(dict.fromkeys(terms))
            return [tensor for found in terms.values() for tensor in (found.sums, found.counts)]

        return objective.holding(state, run)


def _recorded(objective: Objective, state: dict[str, Tensor], batch: Batch) -> Trace:
    """The trace of one size: of the code as it runs by itself, or else as it runs where it is told of the capture."""
    quantities: dict[str, None] = {}
    whole = _Whole(objective, batch, quantities)
    with warnings.catch_warnings(), collector_paused(), uncompiled():
        # The user has seen what the model warns of in a pass of its own.
        warnings.simplefilter("ignore")
        try:
            recording = record(whole, state, batch_tensors(batch))
        except Exception as error:
            if is_shortage(error):
                raise
            with told_of_capture():
                recording = record(whole, state, batch_tensors(batch))
    if not make_functional(recording.graph):
        raise NotTraceableError("the model writes to tensors in place")
    _rewrite(recording.graph)
    return _finished(
        recording.graph, list(quantities), state=state, given=recording.given, constants=recording.constants
    )


def _exported(objective: Objective, state: dict[str, Tensor], batch: Batch, *, dynamic: bool) -> Trace:
    quantities: dict[str, None] = {}
    whole = _Whole(objective, batch, quantities)
    tensors = batch_tensors(batch)
    size = Dim("samples") if dynamic else None
    shapes = (
        dict.fromkeys(state),
        [{0: size} if size is not None and _is_sized(tensor, batch.num_samples) else None for tensor in tensors],
    )
    # A capture makes tens of thousands of objects, and the first one imports what torch needs for it.
    with _quiet(), collector_paused():
        program = export(whole, (state, tensors), dynamic_shapes=shapes, strict=False)
        if not make_functional(program.graph):
            program = program.run_decompositions({})
        _rewrite(program.graph)
    return _as_trace(program, state, list(quantities))


def _rewrite(graph: fx.Graph) -> None:
    fold_batchnorm(graph)
    split_cross_entropy(graph)
    _allow_any_layout(graph)


def _allow_any_layout(graph: fx.Graph) -> None:
    """A view that was possible for the captured strides may need a copy for those of a batch of another size."""
    for node in graph.nodes:
        if node.op == "call_function" and node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default


def _as_trace(program: ExportedProgram, state: NamedTensors, quantities: Sequence[str]) -> Trace:
    signature = program.graph_signature
    if any(spec.kind is not OutputKind.USER_OUTPUT for spec in signature.output_specs):
        raise NotTraceableError("the model changes its own tensors while it is evaluated")
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    given: list[fx.Node] = []
    constants: dict[fx.Node, Tensor] = {}
    for spec in signature.input_specs:
        node = placeholders[spec.arg.name]
        if spec.kind is InputKind.USER_INPUT:
            given.append(node)
        else:
            value = program.constants.get(spec.target or "")
            if value is None:
                value = program.state_dict.get(spec.target or "")
            if not isinstance(value, Tensor):
                raise NotTraceableError(f"the graph needs {spec.target}, which is not a tensor")
            constants[node] = value
    return _finished(program.graph, quantities, state=state, given=given, constants=constants)


def _finished(
    graph: fx.Graph,
    quantities: Sequence[str],
    *,
    state: NamedTensors,
    given: Sequence[fx.Node],
    constants: Mapping[fx.Node, Tensor],
) -> Trace:
    (output,) = (node for node in graph.nodes if node.op == "output")
    results: list[fx.Node] = list(output.args[0])
    nodes = _live_nodes(graph, results)
    for node in nodes:
        _check_node(node)
    return Trace(
        nodes=nodes,
        states=dict(zip(state, given, strict=False)),
        leaves=tuple(given[len(state) :]),
        constants=constants,
        outputs={name: (results[2 * index], results[2 * index + 1]) for index, name in enumerate(quantities)},
    )


def _live_nodes(graph: fx.Graph, results: Sequence[fx.Node]) -> tuple[fx.Node, ...]:
    """The calls that the results depend on, in order; assertions on shapes are not among them."""
    needed = set(results)
    for node in reversed(list(graph.nodes)):
        if node in needed:
            needed.update(node.all_input_nodes)
    return tuple(node for node in graph.nodes if node in needed and node.op != "placeholder")


def _check_node(node: fx.Node) -> None:
    if node.op != "call_function":
        raise NotTraceableError(f"the graph has a {node.op} of {node.target}")
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        if getattr(target, "__module__", "") not in ("_operator", "math", "builtins", "torch"):
            raise NotTraceableError(f"the graph calls {target}")
        return
    schema = target._schema
    if schema.is_mutable:
        raise NotTraceableError(f"the graph writes to a tensor by {schema.name}")
    if reason := effect(target, node.args, node.kwargs):
        raise NotTraceableError(reason)


def _is_sized(tensor: Tensor, num_samples: int) -> bool:
    return tensor.ndim > 0 and tensor.shape[0] == num_samples


def _key(state: NamedTensors, batch: Batch, *, dynamic: bool) -> Any:
    # A model may have got other layers since the last time.
    of_state = tuple((name, tensor.shape, tensor.dtype) for name, tensor in state.items())
    return of_state, _batch_key(batch, dynamic=dynamic)


def _batch_key(batch: Batch, *, dynamic: bool) -> Any:
    leaves, structure = flatten(batch.data)
    described = []
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            described.append(("value", type(leaf), repr(leaf)))
            continue
        sized = dynamic and _is_sized(leaf, batch.num_samples)
        described.append(
            (leaf.dtype, leaf.device, sized, tuple(leaf.shape[1:] if sized else leaf.shape), leaf.stride())
        )
    return dynamic, repr(structure), tuple(described)


@contextmanager
def _quiet() -> Iterator[None]:
    """torch.export warns and logs about its own workings, which are no concern of the user's."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
