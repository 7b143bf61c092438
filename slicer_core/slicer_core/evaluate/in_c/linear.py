"""Linear layers in C."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from slicer_core.evaluate.combine import Combiner
from slicer_core.evaluate.native import Memory, Sizes, library
from slicer_core.evaluate.replaced import Call, Forms, Replaced, Replacement, has_no_gaps

Aten = torch.ops.aten

SOURCE = Path(__file__).with_name("linear.c")
# How many rows are computed at a time. Weights that do not fit a core's cache are read for each group: more then.
_GROUP, _GROUP_OF_MANY_WEIGHTS = 96, 192
_MANY_WEIGHTS_BYTES = 2**18
# With fewer rows laying out the weight costs what is saved, and with fewer products a call costs what it computes.
_MIN_ROWS = 16
_MIN_PRODUCTS = 2**16
FEWEST = 4
"""Inputs or outputs of a layer that is run in C."""
# What weights that don't move may take as they are laid out, at most.
_KEPT_BYTES = 64 * 2**20
_NOTHING, _RELU, _GELU = range(3)
_ACTIVATIONS: Mapping[Any, int] = {Aten.relu.default: _RELU, Aten.gelu.default: _GELU}
_ABSORBS = frozenset({Aten.add.Tensor, *_ACTIVATIONS})
# Inputs whose products are summed up at a time: see the source.
_DEPTH = 512


@dataclass(frozen=True, kw_only=True)
class LinearShape:
    """The sizes of a linear layer on so many rows of inputs."""

    rows: int
    inputs: int
    outputs: int
    is_turned: bool = False
    """Whether the rows of outputs lie side by side, and not the outputs of a row."""


class Inputs(NamedTuple):
    """Where rows of inputs lie: their address, how many there are, and how far apart, in numbers.

    `moving`: the address of what is added to them, times a coefficient, where they have no gaps; `activation`: what is
    done to them then.
    """

    address: int
    rows: int
    stride: int
    moving: int | None = None
    coefficient: float = 0.0
    activation: int = _NOTHING


class Moved(NamedTuple):
    """What combines the affine inputs of a graph at each point, and its results, which have to be there."""

    combiner: Combiner
    results: Sequence[fx.Node]


class CompiledLinear:
    """Layers of one shape, in float32."""

    def __init__(self, shape: LinearShape, memory: Memory) -> None:
        functions = compiled()
        assert functions is not None
        self.shape, self._memory, self._functions = shape, memory, functions
        block = ctypes.c_ssize_t.in_dll(functions, "linear_block").value
        self._sizes = -(-shape.outputs // block), shape.inputs, block
        self._group = _GROUP_OF_MANY_WEIGHTS if self.weight_bytes > _MANY_WEIGHTS_BYTES else _GROUP

    @property
    def weight_bytes(self) -> int:
        """What `weights_of` gives takes."""
        return torch.float32.itemsize * math.prod(self._sizes)

    @property
    def scratch(self) -> dict[str, list[Sizes]]:
        """What is written to besides weights and outputs: see `Memory`."""
        narrow = self._group, self._sizes[2]
        return {"narrow": [[narrow, narrow]], "combined": [[(self._group, self.shape.inputs)]]}

    @property
    def needs(self) -> dict[str, list[Sizes]]:
        """That, and where weights are written that move."""
        return {"weights": [[self._sizes]], **self.scratch}

    @cached_property
    def _weights(self) -> Tensor:
        (place,) = self._memory.parts("weights", torch.float32, [self._sizes])
        return place

    @cached_property
    def _narrow(self) -> list[int]:
        (sizes,) = self.scratch["narrow"]
        return [part.data_ptr() for part in self._memory.parts("narrow", torch.float32, sizes)]

    @cached_property
    def _combined(self) -> int:
        (sizes,) = self.scratch["combined"]
        (place,) = self._memory.parts("combined", torch.float32, sizes)
        return place.data_ptr()

    def weights_of(self, weight: Tensor, *, kept: bool = False) -> Tensor:
        """A weight of shape (outputs, inputs) as it is laid out, in memory that the next layer writes to.

        Where it is `kept`, in memory of its own.
        """
        place = weight.new_empty(self._sizes) if kept else self._weights
        self._functions.linear_weights(weight.data_ptr(), *weight.shape, *weight.stride(), place.data_ptr())
        return place

    def into(self, out: Tensor) -> Callable[..., None]:
        """What writes layers' outputs to `out`, and what follows them.

        Args:
            out: of shape (..., outputs), without gaps, or of shape (rows, outputs) with the rows side by side.
        """
        run, combined, inputs = self._functions.linear_layer, self._combined, self.shape.inputs
        place = out.data_ptr(), self.shape.outputs, *out.stride()[-2:], self._group, *self._narrow

        def write(
            x: Inputs,
            weights: Tensor,
            bias: Tensor | None,
            *,
            added: Tensor | None = None,
            relu: bool = False,
            gelu: bool = False,
        ) -> None:
            """Of weights by `weights_of`; `added` has the shape of `out`, which has no gaps then.

            `relu`: whether what is then below zero becomes zero. `gelu`: whether what there is then is multiplied by
            the normal distribution's cumulative function of it.
            """
            # Copies have to stay alive while they are read.
            biases = None if bias is None else bias.contiguous()
            more = None if added is None else added.contiguous()
            run(
                *(x.address, x.rows, inputs, x.stride, x.moving, x.coefficient, x.activation, combined),
                weights.data_ptr(),
                None if biases is None else biases.data_ptr(),
                None if more is None else more.data_ptr(),
                _RELU if relu else _GELU if gelu else _NOTHING,
                *place,
            )

        return write

    def rows_of(self, x: Tensor) -> Tensor:
        """Inputs of shape (..., inputs), as a matrix whose rows have no gaps."""
        rows = x.reshape(-1, self.shape.inputs)
        return rows if rows.stride(1) == 1 else rows.contiguous()


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The compiled functions; None where there is no compiler, or it fails."""
    found = library(SOURCE)
    if found is not None:
        number, pointer = ctypes.c_ssize_t, ctypes.c_void_p
        found.linear_weights.argtypes = [pointer, *[number] * 4, pointer]
        found.linear_layer.argtypes = [
            *(pointer, *[number] * 3),
            *(pointer, ctypes.c_float, ctypes.c_int, pointer),
            *(pointer, pointer, pointer, ctypes.c_int),
            *(pointer, *[number] * 4, pointer, pointer),
        ]
        found.linear_weights.restype = found.linear_layer.restype = None
    return found


class _Layer(NamedTuple):
    """What a node computes a linear layer of; `is_turned`: whether the weight is of shape (inputs, outputs)."""

    x: fx.Node
    weight: fx.Node
    bias: fx.Node | None
    is_turned: bool


def _layer(node: fx.Node) -> _Layer | None:
    args, is_turned = node.args, node.target is Aten.addmm.default
    if is_turned:
        args = *args[1:], args[0]
    if not (is_turned or node.target is Aten.linear.default) or node.kwargs:
        return None
    x, weight, bias = *args, *([None] * (3 - len(args)))
    if not isinstance(x, fx.Node) or not isinstance(weight, fx.Node) or not isinstance(bias, fx.Node | None):
        return None
    return _Layer(x, weight, bias, is_turned)


def may_be_linear(node: fx.Node) -> bool:
    """Whether a node of a graph is a linear layer."""
    return _layer(node) is not None


def linear_layers(
    nodes: Sequence[fx.Node], form: Forms, constants: Mapping[fx.Node, Any], *, memory: int, moved: Moved
) -> Replaced:
    """Those that pay: see `operations_in_c`.

    Inputs that move affinely, with nothing but an activation before the layer and nobody else to read them, are
    combined a group of rows at a time, and never lie in memory.

    Up to half of the memory is for weights that move. Of those that are the same at all points, layouts are kept in the
    other half as far as they fit.
    """
    found = [
        (node, layer, shape)
        for node in nodes
        if (layer := _layer(node)) is not None and (shape := _shape(node, layer, form)) is not None
    ]
    # Where nothing asks for it, nothing is compiled.
    if not found or compiled() is None:
        return {}
    kept, most, shared = 0, memory // 2, Memory()
    made: dict[fx.Node, Replacement] = {}
    for node, of, shape in found:
        layer = CompiledLinear(shape, shared)
        weight = constants.get(of.weight)
        is_kept = weight is not None and kept + layer.weight_bytes <= min(most, _KEPT_BYTES)
        needs = layer.scratch if is_kept else layer.needs
        if shared.bytes_with(needs, torch.float32) > most:
            continue
        shared.reserve(needs, torch.float32)
        weights = None
        if weight is not None and is_kept:
            kept += layer.weight_bytes
            weights = layer.weights_of(weight.t() if of.is_turned else weight, kept=True)
        combined = _combined_inputs(of, moved, form)
        made[node] = _replacement(layer, weights, combined, moved.combiner, is_turned=of.is_turned)
    return made


class _CombinedInputs(NamedTuple):
    """What moves affinely, what is done to it before a layer, and the node that does that, if one does."""

    node: fx.Node
    activation: int = _NOTHING
    by: fx.Node | None = None


def _combined_inputs(layer: _Layer, moved: Moved, form: Forms) -> _CombinedInputs | None:
    """None where others read them too, or where they lie otherwise in memory."""
    x = layer.x
    found = _CombinedInputs(x)
    if x.target in _ACTIVATIONS and x.kwargs.get("approximate", "none") == "none" and isinstance(x.args[0], fx.Node):
        found = _CombinedInputs(x.args[0], _ACTIVATIONS[x.target], x)
    read_besides = (*moved.results, layer.weight, layer.bias)
    if any(len(node.users) != 1 or node in read_besides for node in (x, found.node)):
        return None
    return found if moved.combiner.can_leave_out(found.node) and has_no_gaps(form(found.node)) else None


def _replacement(
    layer: CompiledLinear,
    weights: Tensor | None,
    combined: _CombinedInputs | None,
    combiner: Combiner,
    *,
    is_turned: bool,
) -> Replacement:
    def into(out: Tensor) -> Call:
        layer_into = layer.into(out)
        if combined is not None:
            combiner.leave_out(combined.node)

        def write(x: Tensor, weight: Tensor, bias: Tensor | None = None, **tail: Any) -> Tensor:
            own = layer.weights_of(weight) if weights is None else weights
            if combined is None:
                rows = layer.rows_of(x)
                layer_into(Inputs(rows.data_ptr(), len(rows), rows.stride(0)), own, bias, **tail)
                return out
            # The view has what another point left there.
            row, moving = combiner.addresses_of(combined.node)
            stride, activation = layer.shape.inputs, combined.activation
            given = Inputs(row, layer.shape.rows, stride, moving, combiner.last, activation)
            layer_into(given, own, bias, **tail)
            return out

        def write_turned(bias: Tensor, x: Tensor, weight: Tensor, **tail: Any) -> Tensor:
            return write(x, weight.t(), bias, **tail)

        return write_turned if is_turned else write

    passed_on = {} if combined is None or combined.by is None else {combined.by: combined.node}
    absorbs = frozenset(_ACTIVATIONS) if layer.shape.is_turned else _ABSORBS
    return Replacement(into, absorbs, passed_on)


def _shape(node: fx.Node, layer: _Layer, form: Forms) -> LinearShape | None:
    """None for what is not in float32 on the CPU, of rows of numbers side by side, or does not pay."""
    forms = [form(entry) for entry in (layer.x, layer.weight, layer.bias) if entry is not None]
    if any(dtype is not torch.float32 or device.type != "cpu" for _, dtype, device, _ in forms):
        return None
    (size, _, _, strides), (matrix, *_) = forms[:2]
    outputs, inputs = reversed(matrix) if layer.is_turned else matrix
    rows = math.prod(size[:-1])
    turned = form(node)[3] == (1, rows) and inputs <= _DEPTH
    has_rows = strides[-1] == 1 and (turned or has_no_gaps(form(node)))
    is_plain = len(forms) == 2 or forms[2][0] == (outputs,)
    pays = min(inputs, outputs) >= FEWEST and rows >= _MIN_ROWS and rows * inputs * outputs >= _MIN_PRODUCTS
    shape = LinearShape(rows=rows, inputs=inputs, outputs=outputs, is_turned=turned)
    return shape if has_rows and is_plain and pays else None
