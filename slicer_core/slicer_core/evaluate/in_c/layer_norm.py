"""Layer normalization in C."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from slicer_core.evaluate.native import library
from slicer_core.evaluate.replaced import Call, Forms, Replaced, Replacement, has_no_gaps

Aten = torch.ops.aten

SOURCE = Path(__file__).with_name("layer_norm.c")
# With fewer numbers a call costs what it computes.
_MIN_NUMBERS = 2**12


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The compiled functions; None where there is no compiler, or it fails."""
    found = library(SOURCE)
    if found is not None:
        number, pointer = ctypes.c_ssize_t, ctypes.c_void_p
        found.layer_norm.argtypes = [pointer, number, number, pointer, pointer, ctypes.c_double, pointer]
        found.layer_norm.restype = None
    return found


def may_be_layer_norm(node: fx.Node) -> bool:
    """Whether a node of a graph is a layer normalization."""
    return node.target is Aten.layer_norm.default and not node.kwargs


def layer_norms(nodes: Sequence[fx.Node], form: Forms) -> Replaced:
    """Those that pay: see `operations_in_c`."""
    found = [node for node in nodes if may_be_layer_norm(node) and _pays(node, form)]
    return {node: Replacement(_into) for node in found} if found and compiled() is not None else {}


def _into(out: Tensor) -> Call:
    functions = compiled()
    assert functions is not None

    def write(
        x: Tensor,
        shape: Sequence[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        epsilon: float = 1e-5,
        _: bool = True,
    ) -> Tensor:
        size = math.prod(shape)
        pointers = [None if tensor is None else tensor.data_ptr() for tensor in (weight, bias)]
        functions.layer_norm(x.data_ptr(), x.numel() // size, size, *pointers, epsilon, out.data_ptr())
        return out

    return write


def _tensors(node: fx.Node) -> list[Any]:
    """What is normalized, the weight and the bias, as far as they are there."""
    return [entry for entry in (node.args[0], *node.args[2:4]) if entry is not None]


def _pays(node: fx.Node, form: Forms) -> bool:
    forms = [form(entry) for entry in (node, *_tensors(node))]
    is_plain = all(own[1] is torch.float32 and own[2].type == "cpu" and has_no_gaps(own) for own in forms)
    return is_plain and math.prod(forms[0][0]) >= _MIN_NUMBERS
