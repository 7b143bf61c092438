"""Operations of transformers and other dense networks in C; see `native`.

What follows an operation is done where its result is written, which torch's operations take to memory and back, and
small sizes fill vectors, for which its libraries have larger ones in mind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from slicer_core.evaluate.in_c import attention, layer_norm, linear
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.replaced import Forms, Replaced

__all__ = ["dense_may_pay", "may_be_in_c", "operations_in_c"]

_KINDS = (linear.linear_layers, attention.attentions, layer_norm.layer_norms)
_MAY_BE = (linear.may_be_linear, attention.may_be_attention, layer_norm.may_be_layer_norm)
_COMPILED = (linear.compiled, attention.compiled, layer_norm.compiled)
# They take about a second to compile.
_WORTH_SECONDS = 5.0


def dense_may_pay(objective: Objective, seconds: float) -> bool:
    """Whether there is a compiler, and they may pay for it, in a job that otherwise takes so many seconds.

    They are compiled then, before processes would each do that.
    """
    is_long = objective.device.type == "cpu" and seconds > _WORTH_SECONDS
    if not is_long or not any(map(_has_linear_weight, objective.model.modules())):
        return False
    return all(compiled() is not None for compiled in _COMPILED)


def _has_linear_weight(module: nn.Module) -> bool:
    if type(module).__module__.startswith("torch.nn.") and not isinstance(module, nn.Linear | nn.MultiheadAttention):
        # A module of the user's may call `linear`; torch's other layers with matrices have kernels for something else.
        return False
    return any(own.ndim == 2 and min(own.shape) >= linear.FEWEST for own in module.parameters(recurse=False))


def may_be_in_c(node: fx.Node) -> bool:
    """Whether a node of a graph may be run in C, if it has the sizes."""
    return any(may_be(node) for may_be in _MAY_BE)


def operations_in_c(
    nodes: Sequence[fx.Node], form: Forms, constants: Mapping[fx.Node, Any], *, memory: int
) -> Replaced:
    """Those that pay, in a process of one thread where there is a compiler, with at most so many bytes for themselves.

    They share what they write to, so they run one after another.
    """
    if torch.get_num_threads() > 1:
        return {}
    made = [found(nodes, form, constants, memory=memory // len(_KINDS)) for found in _KINDS]
    return {node: replacement for found in made for node, replacement in found.items()}
