"""An affine operation where what moves is zero, without the arithmetic where it is a product and a factor moves."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload  # the type of every node's target; torch gives it no public name

from slicer_core.evaluate.finite import is_finite

# Name of a product -> the positions of its factors, and the dimension of each that is summed over.
_SUMMED: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "aten::mm": ((0, -1), (1, -2)),
    "aten::bmm": ((0, -1), (1, -2)),
    "aten::addmm": ((1, -1), (2, -2)),
    "aten::baddbmm": ((1, -1), (2, -2)),
    "aten::linear": ((0, -1), (1, -1)),
}
_CONVOLUTION, _FACTORS, _BIAS = "aten::convolution", (0, 1), 2


def value_at_origin(node: fx.Node, moving: Set[fx.Node], value: Callable[[fx.Node], Any], center: Any) -> Any:
    """The call's value by `value`, which gives zeros for what is in `moving`; None where it has to be run for that.

    A sum over nothing is left of a product, with whatever else the operation does. `center` is what it gives at the
    center: that it is finite shows that the other factor is, of which zero times as much is zero.
    """
    if not isinstance(node.target, OpOverload) or not isinstance(center, Tensor):
        return None
    name, args = node.target._schema.name, node.args
    if name == _CONVOLUTION:
        bias = args[_BIAS]
        is_zero = any(args[factor] in moving for factor in _FACTORS) and (bias is None or bias in moving)
        return torch.zeros_like(center) if is_zero and is_finite(center) else None
    summed = _SUMMED.get(name)
    if summed is None or not any(args[factor] in moving for factor, _ in summed) or not is_finite(center):
        return None
    given: list[Any] = list(fx.map_arg(args, value))
    for factor, dimension in summed:
        given[factor] = given[factor].narrow(dimension, 0, 0)
    return node.target(*given, **fx.map_arg(node.kwargs, value))
