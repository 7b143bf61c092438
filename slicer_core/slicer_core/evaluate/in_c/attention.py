"""Attention by scaled dot products in C, where there is no mask but the causal one."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from slicer_core.evaluate.native import Memory, Sizes, library
from slicer_core.evaluate.replaced import Call, Forms, Replaced, Replacement

Aten = torch.ops.aten

SOURCE = Path(__file__).with_name("attention.c")
# Queries whose scores lie in memory at a time: see the source.
_ROWS = 6
_DEFAULTS: tuple[Any, ...] = (None, 0.0, False)


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The compiled functions; None where there is no compiler, or it fails."""
    found = library(SOURCE)
    if found is not None:
        pointer = ctypes.c_void_p
        found.attention.argtypes = [*[pointer] * 5, ctypes.c_int, ctypes.c_float, *[pointer] * 4]
        found.attention.restype = None
    return found


class _Attention(NamedTuple):
    """Of what a node computes it, and how."""

    tensors: tuple[fx.Node, ...]
    is_causal: bool
    scale: float | None


def _attention(node: fx.Node) -> _Attention | None:
    if node.target is not Aten.scaled_dot_product_attention.default:
        return None
    given = (*node.args[3:], *_DEFAULTS[len(node.args) - 3 :])
    named: dict[str, Any] = dict(zip(("attn_mask", "dropout_p", "is_causal"), given, strict=True)) | dict(node.kwargs)
    tensors, scale = tuple(entry for entry in node.args[:3] if isinstance(entry, fx.Node)), named.get("scale")
    is_plain = named["attn_mask"] is None and named["dropout_p"] == 0 and not named.get("enable_gqa")
    if len(tensors) < 3 or not is_plain or not isinstance(scale, float | None):
        return None
    return _Attention(tensors, bool(named["is_causal"]), scale)


def may_be_attention(node: fx.Node) -> bool:
    """Whether a node of a graph is an attention that may be run in C, if it has the sizes."""
    return _attention(node) is not None


def attentions(nodes: Sequence[fx.Node], form: Forms, *, memory: int) -> Replaced:
    """Those that pay: see `operations_in_c`."""
    found = [(node, of) for node in nodes if (of := _attention(node)) is not None]
    if not found or (functions := compiled()) is None:
        return {}
    block, shared = ctypes.c_ssize_t.in_dll(functions, "attention_block").value, Memory()
    made: dict[fx.Node, Replacement] = {}
    for node, of in found:
        forms = [form(entry) for entry in (*of.tensors, node)]
        if not _is_plain(forms, block):
            continue
        needs = _needs(forms, block)
        if shared.bytes_with(needs, torch.float32) > memory:
            continue
        shared.reserve(needs, torch.float32)
        made[node] = _replacement(functions, forms, of, shared, needs)
    return made


def _is_plain(forms: Sequence[Any], block: int) -> bool:
    """Whether all is in float32 on the CPU, of the sizes that queries, keys and values of as many heads have."""
    if any(dtype is not torch.float32 or device.type != "cpu" or len(size) != 4 for size, dtype, device, _ in forms):
        return False
    (query, key, value, out), strides = [own[0] for own in forms], [own[3] for own in forms]
    are_alike = query[:2] == key[:2] == value[:2] == out[:2] and query[3] == key[3] and key[2] == value[2]
    return are_alike and all(own[3] == 1 for own in strides) and value[3] % block == 0 and min(*query, *key) > 0


def _needs(forms: Sequence[Any], block: int) -> dict[str, list[Sizes]]:
    (_, heads, tokens, depth), (*_, size) = forms[1][0], forms[2][0]
    padded = -(-tokens // block) * block
    return {"attention": [[(heads, padded, depth), (heads, tokens, size), (_ROWS, padded)]]}


def _replacement(
    functions: ctypes.CDLL, forms: Sequence[Any], of: _Attention, memory: Memory, needs: dict[str, list[Sizes]]
) -> Replacement:
    query, key, value, _ = (own[0] for own in forms)
    sizes = (ctypes.c_ssize_t * 6)(*query[:3], key[2], key[3], value[3])
    places = (ctypes.c_ssize_t * 12)(*(stride for *_, strides in forms for stride in strides[:3]))
    scale = 1 / math.sqrt(query[3]) if of.scale is None else of.scale

    def into(out: Tensor) -> Call:
        own = memory.parts("attention", torch.float32, needs["attention"][0])

        def write(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
            functions.attention(
                *(tensor.data_ptr() for tensor in (query, key, value)),
                *(sizes, places, of.is_causal, scale),
                *(tensor.data_ptr() for tensor in own),
                out.data_ptr(),
            )
            return out

        return write

    return Replacement(into)
