"""The loss of a batch as a graph of operations on named tensors, captured once by `torch.export`.

The capture runs without the model's Python code, so it is held against the user's own forward on every batch; what
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
from slicer_core.evaluate.fold import fold_batchnorm
from slicer_core.evaluate.functional import make_functional
from slicer_core.evaluate.objective import Objective
from slicer_core.parameters import NamedTensors
from slicer_core.subject import Batch
from slicer_core.subject.nesting import flatten, leaves_of, unflatten

_LOGGERS = ("torch.export", "torch.fx", "torch._dynamo", "torch._export", "torch._subclasses")
# Operations that can drop out do so only where one of these arguments, in this order, is not zero or false.
_RANDOM_SWITCHES = ("train", "training", "dropout_p")
# Norms update running statistics where one of these is true, which their schemas don't say.
_TRAINING_SWITCHES = ("training", "use_input_stats")


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

    A trace for one size takes a third of the time of one that leaves the size open, so the first `closed_sizes` sizes
    have one each, and all others share one if the model's code lets them.
    """

    def __init__(self, closed_sizes: int = 2) -> None:
        self._traces: dict[Any, Trace | NotTraceableError] = {}
        self._closed_sizes = closed_sizes
        self._num_sizes: dict[Any, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing was captured yet."""
        return not self._traces

    def knows(self, state: NamedTensors, batch: Batch) -> bool:
        """Whether a trace that fits the batch is there already."""
        keys = (_key(state, batch, dynamic=dynamic) for dynamic in _ways(batch))
        return any(isinstance(self._traces.get(key), Trace) for key in keys)

    def trace(self, objective: Objective, state: NamedTensors, batch: Batch) -> Trace:
        """The trace that fits the batch.

        Raises:
            NotTraceableError: the loss has no graph.
        """
        keys = {dynamic: _key(state, batch, dynamic=dynamic) for dynamic in (False, True)}
        known = [self._traces[keys[dynamic]] for dynamic in _ways(batch) if keys[dynamic] in self._traces]
        if trace := next((found for found in known if isinstance(found, Trace)), None):
            return trace
        is_closed = self._num_sizes.setdefault(keys[True], 0) < self._closed_sizes
        self._num_sizes[keys[True]] += 1
        found: Trace | NotTraceableError = NotTraceableError("nothing was tried")
        for dynamic in (False,) if is_closed else reversed(_ways(batch)):
            if keys[dynamic] not in self._traces:
                self._traces[keys[dynamic]] = _attempt(objective, dict(state), batch, dynamic=dynamic)
            found = self._traces[keys[dynamic]]
            if isinstance(found, Trace):
                return found
        raise found


def _attempt(
    objective: Objective, state: dict[str, Tensor], batch: Batch, *, dynamic: bool
) -> Trace | NotTraceableError:
    try:
        return _capture(objective, state, batch, dynamic=dynamic)
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


def _capture(objective: Objective, state: dict[str, Tensor], batch: Batch, *, dynamic: bool) -> Trace:
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
        fold_batchnorm(program.graph)
        split_cross_entropy(program.graph)
        _allow_any_layout(program.graph)
    return _as_trace(program, list(state), list(quantities))


def _allow_any_layout(graph: fx.Graph) -> None:
    """A view that was possible for the captured strides may need a copy for those of a batch of another size."""
    for node in graph.nodes:
        if node.op == "call_function" and node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default


def _as_trace(program: ExportedProgram, state_names: Sequence[str], quantities: Sequence[str]) -> Trace:
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
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    results: list[fx.Node] = list(output.args[0])
    nodes = _live_nodes(program.graph, results)
    for node in nodes:
        _check_node(node)
    return Trace(
        nodes=nodes,
        states=dict(zip(state_names, given, strict=False)),
        leaves=tuple(given[len(state_names) :]),
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
    given = _arguments(node, schema)
    if given.get("running_mean") is not None and any(given.get(switch) for switch in _TRAINING_SWITCHES):
        raise NotTraceableError(f"the model changes its running statistics by {schema.name}")
    if torch.Tag.nondeterministic_seeded in target.tags and not _is_still(given):
        raise NotTraceableError(f"the model draws random numbers by {schema.name}")


def _arguments(node: fx.Node, schema: torch.FunctionSchema) -> dict[str, Any]:
    defaults = {argument.name: argument.default_value for argument in schema.arguments}
    return defaults | dict(zip(defaults, node.args, strict=False)) | dict(node.kwargs)


def _is_still(given: Mapping[str, Any]) -> bool:
    switch = next((given[name] for name in _RANDOM_SWITCHES if name in given), True)
    return not isinstance(switch, fx.Node) and not switch


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
