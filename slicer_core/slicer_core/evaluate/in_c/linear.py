"""Linear layers in C."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from slicer_core.evaluate.native import Memory, Sizes, library
from slicer_core.evaluate.replaced import Call, Forms, Replaced, Replacement, has_no_gaps

Aten = torch.ops.aten

_SOURCE = Path(__file__).with_name("linear.c")
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
_ABSORBS = frozenset({Aten.add.Tensor, Aten.relu.default, Aten.gelu.default})


@dataclass(frozen=True, kw_only=True)
class LinearShape:
    """The sizes of a linear layer on so many rows of inputs."""

    rows: int
    inputs: int
    outputs: int


class CompiledLinear:
    """Layers of one shape, in float32."""

    def __init__(self, shape: LinearShape, memory: Memory) -> None:
        functions = compiled()
        assert functions is not None
        self._shape, self._memory, self._functions = shape, memory, functions
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
        return {"narrow": [[narrow, narrow]]}

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
        ((sizes,),) = self.scratch.values()
        return [part.data_ptr() for part in self._memory.parts("narrow", torch.float32, sizes)]

    def weights_of(self, weight: Tensor, *, kept: bool = False) -> Tensor:
        """A weight of shape (outputs, inputs) as it is laid out, in memory that the next layer writes to.

        Where it is `kept`, in memory of its own.
        """
        place = weight.new_empty(self._sizes) if kept else self._weights
        self._functions.linear_weights(weight.data_ptr(), *weight.shape, *weight.stride(), place.data_ptr())
        return place

    def __call__(
        self,
        x: Tensor,
        weights: Tensor,
        bias: Tensor | None,
        *,
        out: Tensor,
        added: Tensor | None = None,
        relu: bool = False,
        gelu: bool = False,
    ) -> Tensor:
        """Writes the layer's outputs to `out`, and what follows it.

        Args:
            x: of shape (..., inputs).
            weights: the weight, by `weights_of`.
            bias: of shape (outputs,).
            out: of shape (..., outputs), without gaps.
            added: what is added to that, of the same shape.
            relu: whether what is then below zero becomes zero.
            gelu: whether what there is then is multiplied by the normal distribution's cumulative function of it.
        """
        # Copies have to stay alive while they are read.
        given = x.reshape(-1, self._shape.inputs)
        rows = given if given.stride(1) == 1 else given.contiguous()
        biases = None if bias is None else bias.contiguous()
        more = None if added is None else added.contiguous()
        self._functions.linear_layer(
            *(rows.data_ptr(), *rows.shape, rows.stride(0)),
            weights.data_ptr(),
            *(None if tensor is None else tensor.data_ptr() for tensor in (biases, more)),
            _RELU if relu else _GELU if gelu else _NOTHING,
            *(out.data_ptr(), self._shape.outputs, self._group),
            *self._narrow,
        )
        return out


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The compiled functions; None where there is no compiler, or it fails."""
    found = library(_SOURCE)
    if found is not None:
        number, pointer = ctypes.c_ssize_t, ctypes.c_void_p
        found.linear_weights.argtypes = [pointer, *[number] * 4, pointer]
        found.linear_layer.argtypes = [
            *(pointer, *[number] * 3),
            *(pointer, pointer, pointer, ctypes.c_int),
            *(pointer, number, number, pointer, pointer),
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


def linear_layers(nodes: Sequence[fx.Node], form: Forms, constants: Mapping[fx.Node, Any], *, memory: int) -> Replaced:
    """Those that pay: see `operations_in_c`.

    Up to half of the memory is for weights that move. Of those that are the same at all points, layouts are kept in the
    other half as far as they fit.
    """
    shapes = {node: shape for node in nodes if (shape := _shape(node, form)) is not None}
    # Where nothing asks for it, nothing is compiled.
    if not shapes or compiled() is None:
        return {}
    kept, most, shared = 0, memory // 2, Memory()
    made: dict[fx.Node, Replacement] = {}
    for node, shape in shapes.items():
        layer, of = CompiledLinear(shape, shared), _layer(node)
        assert of is not None
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
        made[node] = _replacement(layer, weights, is_turned=of.is_turned)
    return made


def _replacement(layer: CompiledLinear, weights: Tensor | None, *, is_turned: bool) -> Replacement:
    def into(out: Tensor) -> Call:
        def write(x: Tensor, weight: Tensor, bias: Tensor | None = None, **tail: Any) -> Tensor:
            own = layer.weights_of(weight) if weights is None else weights
            return layer(x, own, bias, out=out, **tail)

        def write_turned(bias: Tensor, x: Tensor, weight: Tensor, **tail: Any) -> Tensor:
            return write(x, weight.t(), bias, **tail)

        return write_turned if is_turned else write

    return Replacement(into, _ABSORBS)


def _shape(node: fx.Node, form: Forms) -> LinearShape | None:
    """None for what is no linear layer in float32 on the CPU, of rows of numbers side by side, that pays."""
    if (layer := _layer(node)) is None:
        return None
    forms = [form(entry) for entry in (layer.x, layer.weight, layer.bias) if entry is not None]
    if any(dtype is not torch.float32 or device.type != "cpu" for _, dtype, device, _ in forms):
        return None
    (size, _, _, strides), (matrix, *_) = forms[:2]
    outputs, inputs = reversed(matrix) if layer.is_turned else matrix
    rows = math.prod(size[:-1])
    has_rows = strides[-1] == 1 and has_no_gaps(form(node))
    is_plain = len(forms) == 2 or forms[2][0] == (outputs,)
    pays = min(inputs, outputs) >= FEWEST and rows >= _MIN_ROWS and rows * inputs * outputs >= _MIN_PRODUCTS
    return LinearShape(rows=rows, inputs=inputs, outputs=outputs) if has_rows and is_plain and pays else None
