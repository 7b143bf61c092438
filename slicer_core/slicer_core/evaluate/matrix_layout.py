"""How matrices of the general part lie in memory: sample after sample, or the samples of each feature side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx

from slicer_core.choices import Layout

Aten = torch.ops.aten

# Products of ten columns take a third to a half of the time where samples fill the vectors; from here on, none less.
_FEW_COLUMNS = 64
_EXCHANGED = ((0, 1), (1, 0), (-1, -2), (-2, -1))


def _is_read_turned(node: fx.Node) -> bool:
    """Whether all that reads the matrix reads its transpose."""
    return bool(node.users) and all(
        user.target is Aten.transpose.int and user.args[1:] in _EXCHANGED for user in node.users
    )


def is_wanted_whole(node: fx.Node) -> bool:
    """Whether what reads the matrix, a transpose, would first copy it into the order of its own dimensions."""
    return node.target is Aten.transpose.int and all(user.target is Aten._log_softmax.default for user in node.users)


def laid_out(node: fx.Node, given: Any, result: Tensor) -> Tensor:
    """A product with the samples of each feature side by side, if what it is computed from is so, or what reads it."""
    if result.ndim != 2:
        return result
    is_given_so = isinstance(given, Tensor) and given.ndim == 2 and given.stride(0) == 1 and given.shape[1] > 1
    is_read_so = result.device.type == "cpu" and _is_read_turned(node)
    return result.t().contiguous().t() if is_given_so or is_read_so else result


def known_layout(matrices: list[fx.Node], general: Iterable[fx.Node], device: torch.device) -> Layout | None:
    """The layout of the matrices that are combined where it needs no timing, else None."""
    if matrices and (device.type != "cpu" or any(map(_is_narrow, general))):
        return None
    return "rows"


def _is_narrow(node: fx.Node) -> bool:
    """Whether the node is a product that could gain by its argument's layout, since nothing reads its transpose."""
    if node.target is not Aten.linear.default or _is_read_turned(node):
        return False
    value = node.meta.get("val")
    columns = value.shape[-1] if isinstance(value, Tensor) else None
    # Another size with each batch may be any.
    return not isinstance(columns, int) or columns < _FEW_COLUMNS
