"""The operations of one pass, recorded as torch dispatches them: a graph for batches of one size.

`torch.export` takes many times as long, and before its first graph a second or two to import what it needs. A recording
sees the same operations as they run, and the code that calls them sees tensors without values. So what asks for a
value, or makes something whose size depends on one, can't be recorded, and that is all that is said of it here:
`torch.export` then finds the graph, or the reason why there is none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload  # what is dispatched; torch gives it no public name
from torch.utils import _pytree as pytree  # the flattening that torch.export itself uses

from slicer_core.evaluate.effects import effect, reads_values
from slicer_core.evaluate.modes import DispatchMode


class NotRecordedError(RuntimeError):
    """What can't be recorded."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """The graph of a pass, with a placeholder for each tensor given and for each that the code has by itself.

    Nodes carry the shapes of their results as those of `torch.export` do.
    """

    graph: fx.Graph
    given: tuple[fx.Node, ...]
    constants: Mapping[fx.Node, Tensor]


def record(
    function: Callable[[dict[str, Tensor], list[Tensor]], Sequence[Tensor]],
    state: Mapping[str, Tensor],
    tensors: Sequence[Tensor],
) -> Recording:
    """What `function(state, tensors)` does, which runs once; nothing is written to the tensors, or drawn at random.

    Raises:
        NotRecordedError: it is not one sequence of operations whatever the values are, or not seen to be one.
        Exception: what the code raises for tensors without values.
    """
    recorder = _Recorder([*state.values(), *tensors])
    try:
        # Where gradients may be taken, operations that are made of others are dispatched as those others.
        with torch.inference_mode():
            stand_ins: list[Tensor] = [recorder.stand_in(tensor) for tensor in (*state.values(), *tensors)]
            with recorder:
                results = function(dict(zip(state, stand_ins, strict=False)), stand_ins[len(state) :])
        return recorder.recording(results)
    finally:
        recorder.end()


class _StandIn(Tensor):
    """A tensor without values for the code that is recorded; for later passes, where it is kept, it has them."""

    value: Tensor
    node: fx.Node
    recorder: _Recorder

    @staticmethod
    def __new__(cls, value: Tensor, node: fx.Node, recorder: _Recorder) -> _StandIn:
        made: _StandIn = Tensor._make_wrapper_subclass(
            cls,
            value.size(),
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            layout=value.layout,
            device=value.device,
        )
        made.value, made.node, made.recorder = value, node, recorder
        return made

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As of a plain tensor; that there is such a method keeps torch's layers from fusing what they consist of."""
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = (args, kwargs or {})
        for tensor in pytree.tree_leaves(given):
            if isinstance(tensor, _StandIn):
                tensor.recorder.refuse_while_running(function)
        args, kwargs = pytree.tree_map_only(_StandIn, _value_of, given)
        return function(*args, **kwargs)


class _Parts(DispatchMode):
    """Looks into operations that are made of others for what can't be recorded."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(function, args, kwargs or {})

    def run(self, function: OpOverload, args: Any, kwargs: Any) -> Any:
        if reason := effect(function, args, kwargs):
            raise NotRecordedError(reason)
        if reads_values(function, args):
            raise NotRecordedError(f"{function} reads values")
        with self:
            result = function.decompose(*args, **kwargs)
        return function(*args, **kwargs) if result is NotImplemented else result


class _Recorder(DispatchMode):
    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()
        devices = {tensor.device for tensor in given}
        if len(devices) != 1:
            raise NotRecordedError("tensors on several devices")
        (self._device,) = devices
        self._parts = _Parts()
        self._graph = fx.Graph()
        self._given: list[fx.Node] = []
        # Also keeps them alive, so that none gets the identity of another.
        self._constants: dict[int, tuple[Tensor, fx.Node]] = {}
        # Where the tensors are that must not be written to.
        self._memory: set[int] = set()
        self._failure: Exception | None = None
        self._is_running = True

    def stand_in(self, tensor: Tensor) -> _StandIn:
        node = self._placeholder(f"given_{len(self._given)}", tensor)
        self._given.append(node)
        return _StandIn(tensor.detach(), node, self)

    def recording(self, results: Sequence[Tensor]) -> Recording:
        if self._failure is not None:
            # The code may have gone on by another way.
            raise self._failure
        self._graph.output(tuple(self._node_of(tensor) for tensor in results))
        constants = {node: _usual(tensor) for tensor, node in self._constants.values()}
        return Recording(graph=self._graph, given=tuple(self._given), constants=constants)

    def refuse_while_running(self, function: Any) -> None:
        if self._is_running:
            self._failure = NotRecordedError(f"{function} of a tensor that was kept from the recording")
            raise self._failure

    def end(self) -> None:
        self._is_running = False
        # Its frames hold the tensors of the pass.
        self._failure = None

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return self._recorded(function, args, kwargs or {})
        except Exception as failure:
            self._failure = failure
            raise

    def _recorded(self, function: Any, args: Any, kwargs: Any) -> Any:
        if not isinstance(function, OpOverload) or function.namespace != "aten":
            raise NotRecordedError(f"{function} is none of torch's own operations")
        if function is torch.ops.aten.lift_fresh.default:
            # Not the tensor itself, as a graph runs many times and may write to it.
            function = torch.ops.aten.lift_fresh_copy.default
        written = self._written(function, args)
        arguments = pytree.tree_map_only(Tensor, self._node_of, (args, kwargs))
        result = self._parts.run(function, *pytree.tree_map_only(Tensor, _value_of, (args, kwargs)))
        node = self._graph.call_function(function, *arguments)
        if written is None:
            return self._carried(result, node)
        if not isinstance(result, Tensor) or _form(result) != _form(written):
            raise NotRecordedError(f"{function} changes more than values")
        node.meta["val"], written.node = _shape_of(result), node
        return written

    def _written(self, function: OpOverload, args: Any) -> _StandIn | None:
        if not function._schema.is_mutable:
            return None
        written = args[0] if args and function._schema.name.endswith("_") else None
        if isinstance(written, _StandIn) and written.recorder is self:
            is_own = _memory_of(written.value) not in self._memory
            if is_own or function is torch.ops.aten.detach_.default:
                return written
        raise NotRecordedError(f"{function} writes to what the model holds, or is given")

    def _node_of(self, tensor: Tensor) -> fx.Node:
        if isinstance(tensor, _StandIn) and tensor.recorder is self:
            return tensor.node
        # One of an earlier recording too, which the code has kept.
        tensor = _value_of(tensor)
        if id(tensor) not in self._constants:
            node = self._placeholder(f"constant_{len(self._constants)}", tensor)
            self._constants[id(tensor)] = tensor, node
        return self._constants[id(tensor)][1]

    def _placeholder(self, name: str, tensor: Tensor) -> fx.Node:
        if type(tensor) not in (Tensor, nn.Parameter) or not self._is_usual(tensor):
            raise NotRecordedError(f"a tensor of {type(tensor)} on {tensor.device}")
        self._memory.add(_memory_of(tensor))
        node = self._graph.placeholder(name)
        node.meta["val"] = _shape_of(tensor)
        return node

    def _carried(self, result: Any, node: fx.Node) -> Any:
        if isinstance(result, Tensor):
            if not self._is_usual(result):
                raise NotRecordedError(f"{node.target} gives a tensor on {result.device}")
            node.meta["val"] = _shape_of(result)
            return _StandIn(result, node, self)
        if not isinstance(result, (tuple, list)) or not all(isinstance(entry, Tensor) for entry in result):
            raise NotRecordedError(f"{node.target} gives what is not a tensor")
        node.meta["val"] = tuple(_shape_of(entry) for entry in result)
        return type(result)(
            self._carried(entry, self._graph.call_function(operator.getitem, (node, index)))
            for index, entry in enumerate(result)
        )

    def _is_usual(self, tensor: Tensor) -> bool:
        return tensor.device == self._device and tensor.layout is torch.strided and not tensor.is_quantized


def _value_of(tensor: Tensor) -> Tensor:
    return tensor.value if isinstance(tensor, _StandIn) else tensor


def _shape_of(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _memory_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype


def _usual(tensor: Tensor) -> Tensor:
    """Tensors made in inference mode stay barred from much; the model's own are taken as they are."""
    return torch.empty_like(tensor).copy_(tensor) if tensor.is_inference() else tensor
