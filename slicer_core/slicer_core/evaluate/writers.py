"""Operations of a graph that write over an argument or into a buffer that is kept, in place of fresh memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Aten = torch.ops.aten
Writer = Callable[..., Tensor]

IN_PLACE: Mapping[Any, Writer] = {
    Aten.relu.default: torch.relu_,
    Aten.neg.default: torch.neg_,
    Aten.add.Tensor: lambda left, right, alpha=1: left.add_(right, alpha=alpha),
    Aten.sub.Tensor: lambda left, right, alpha=1: left.sub_(right, alpha=alpha),
    Aten.mul.Tensor: lambda left, right: left.mul_(right),
    Aten.tanh.default: torch.tanh_,
    Aten.sigmoid.default: torch.sigmoid_,
    Aten.silu.default: lambda x: Aten.silu.out(x, out=x),
    Aten.gelu.default: lambda x, approximate="none": Aten.gelu.out(x, approximate=approximate, out=x),
}
"""Pointwise operations over their first argument."""

OVER_SECOND: Mapping[Any, Writer] = {
    Aten.add.Tensor: lambda left, right: right.add_(left),
    Aten.mul.Tensor: lambda left, right: right.mul_(left),
}
"""Those that are the same with their two arguments exchanged, over the second."""

_OUT: Mapping[Any, Callable[..., Tensor]] = {
    Aten.add.Tensor: Aten.add.out,
    Aten.sub.Tensor: Aten.sub.out,
    Aten.mul.Tensor: Aten.mul.out,
    Aten.gelu.default: Aten.gelu.out,
    Aten.silu.default: Aten.silu.out,
    Aten.tanh.default: Aten.tanh.out,
    Aten.sigmoid.default: Aten.sigmoid.out,
    Aten.bmm.default: Aten.bmm.out,
    Aten.mm.default: Aten.mm.out,
    Aten.addmm.default: Aten.addmm.out,
    Aten.gather.default: Aten.gather.out,
    Aten._log_softmax.default: Aten._log_softmax.out,
    Aten._softmax.default: Aten._softmax.out,
}


def can_write_into(target: Any) -> bool:
    """Whether `into` has a way for the operation."""
    return target is Aten.linear.default or target in _OUT


def into(target: Any, buffer: Tensor) -> Writer:
    """The operation with `buffer` as the place of its result, which has the result's shape."""
    if target is Aten.linear.default:
        return _linear_into(buffer)
    write = _OUT[target]
    return lambda *args, **kwargs: write(*args, **kwargs, out=buffer)


def _linear_into(buffer: Tensor) -> Writer:
    """A matrix product; what has more dimensions than two lies row after row."""
    flat = buffer if buffer.ndim == 2 else buffer.view(-1, buffer.shape[-1])
    # A weight that lies in a kept buffer is the same tensor at each point.
    seen: Tensor | None = None
    turned = flat

    def write(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        nonlocal seen, turned
        if weight is not seen:
            seen, turned = weight, weight.t()
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        if bias is None:
            torch.mm(rows, turned, out=flat)
        else:
            torch.addmm(bias, rows, turned, out=flat)
        return buffer

    return write


@dataclass
class BufferPool:
    """Flat buffers that serve one result after another: the next may have one when nobody reads what lies in it."""

    _taken: list[tuple[Tensor, int]] = field(default_factory=list)

    def take(self, like: Tensor, group: int, is_free: Callable[[int], bool]) -> Tensor:
        """A buffer with the shape and strides of `like`, from then on that of `group`."""
        for number, (flat, owner) in enumerate(self._taken):
            if flat.numel() == like.numel() and flat.dtype == like.dtype and is_free(owner):
                self._taken[number] = (flat, group)
                return flat.as_strided(like.shape, like.stride())
        flat = torch.empty(like.numel(), dtype=like.dtype, device=like.device)
        self._taken.append((flat, group))
        return flat.as_strided(like.shape, like.stride())
