"""Operations of transformers and other dense networks, and a loss, in C; see `native`.

What follows an operation is done where its result is written, which torch's operations take to memory and back, and
small sizes fill vectors, for which its libraries have larger ones in mind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from slicer_core.evaluate.in_c import attention, cross_entropy, layer_norm, linear
from slicer_core.evaluate.in_c.attention import attentions
from slicer_core.evaluate.in_c.cross_entropy import cross_entropies
from slicer_core.evaluate.in_c.layer_norm import layer_norms
from slicer_core.evaluate.in_c.linear import Moved, linear_layers
from slicer_core.evaluate.native import is_kept
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.replaced import Forms, Replaced

__all__ = ["Moved", "dense_may_pay", "may_be_in_c", "operations_in_c"]

_MAY_BE = (linear.may_be_linear, attention.may_be_attention, layer_norm.may_be_layer_norm)
_PARTS = (linear, attention, layer_norm, cross_entropy)
# They take about a second to compile, and a few milliseconds to load.
_WORTH_COMPILING_SECONDS = 5.0
_WORTH_SECONDS = 0.2


def dense_may_pay(objective: Objective, seconds: float) -> bool:
    """Whether there is a compiler, and they may pay for it, in a job that otherwise takes so many seconds.

    They are compiled then, before processes would each do that.
    """
    if objective.device.type != "cpu" or seconds < _WORTH_SECONDS:
        return False
    if not any(map(_has_linear_weight, objective.model.modules())):
        return False
    if seconds < _WORTH_COMPILING_SECONDS and not all(is_kept(part.SOURCE) for part in _PARTS):
        return False
    return all(part.compiled() is not None for part in _PARTS)


def _has_linear_weight(module: nn.Module) -> bool:
    if type(module).__module__.startswith("torch.nn.") and not isinstance(module, nn.Linear | nn.MultiheadAttention):
        # A module of the user's may call `linear`; torch's other layers with matrices have kernels for something else.
        return False
    return any(own.ndim == 2 and min(own.shape) >= linear.FEWEST for own in module.parameters(recurse=False))


def may_be_in_c(node: fx.Node) -> bool:
    """Whether a node of a graph may be run in C, if it has the sizes."""
    return any(may_be(node) for may_be in _MAY_BE)


def operations_in_c(
    nodes: Sequence[fx.Node], form: Forms, constants: Mapping[fx.Node, Any], *, memory: int, moved: Moved
) -> Replaced:
    """Those that pay, in a process of one thread where there is a compiler, with at most so many bytes for themselves.

    They share what they write to, so they run one after another. `moved`: what may be combined where it is read.
    """
    if torch.get_num_threads() > 1:
        return {}
    own = memory // 3
    return {
        **linear_layers(nodes, form, constants, memory=own, moved=moved),
        **attentions(nodes, form, memory=own),
        **layer_norms(nodes, form),
        **cross_entropies(nodes, form, constants, moved.results),
    }
