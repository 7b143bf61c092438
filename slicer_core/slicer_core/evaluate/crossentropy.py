"""Cross-entropy over few classes, rewritten in a captured graph so that samples lie side by side.

torch's softmax along the last dimension works row by row, which for ten classes costs ten times the arithmetic; along
the first dimension it is vectorized over the samples. What depends on the targets alone becomes nodes of its own, which
are constant.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import CrossEntropyLoss

Aten = torch.ops.aten

# Rows longer than this fill vector registers by themselves.
_FEW_CLASSES = 64
IGNORED = CrossEntropyLoss().ignore_index
NO_REDUCTION = 0
_DEFAULTS = (None, 1, IGNORED, 0.0)


def split_cross_entropy(graph: fx.Graph) -> int:
    """Rewrites the unreduced losses of class indices in place; returns how many there were."""
    found = 0
    for loss in list(graph.nodes):
        if (given := unreduced(loss)) is None:
            continue
        logits, target, weight, ignored = given
        if not _are_few_classes(logits, target):
            continue
        with graph.inserting_before(loss):
            loss.replace_all_uses_with(_picked(graph, logits, target, weight, ignored))
        graph.erase_node(loss)
        found += 1
    return found


def unreduced(loss: fx.Node) -> tuple[Any, Any, Any, Any] | None:
    """Scores, targets, weights of classes and the ignored class of a cross-entropy, one loss a row and no smoothing."""
    if loss.op != "call_function" or loss.target is not Aten.cross_entropy_loss.default or loss.kwargs:
        return None
    scores, target, *given = loss.args
    weight, reduction, ignored, smoothing = (*given, *_DEFAULTS[len(given) :])
    return None if reduction != NO_REDUCTION or smoothing != 0 else (scores, target, weight, ignored)


def _are_few_classes(logits: object, target: object) -> bool:
    if not isinstance(logits, fx.Node) or not isinstance(target, fx.Node):
        return False
    values, classes = logits.meta.get("val"), target.meta.get("val")
    if not isinstance(values, Tensor) or not isinstance(classes, Tensor) or values.ndim != 2 or classes.ndim != 1:
        return False
    is_wide = values.dtype in (torch.float32, torch.float64)
    return is_wide and not classes.is_floating_point() and int(values.shape[1]) <= _FEW_CLASSES


def _picked(graph: fx.Graph, logits: fx.Node, target: fx.Node, weight: object, ignored: object) -> fx.Node:
    """-w[y]·log softmax(x)[y] for the targets that count, and 0 for those that are ignored, NaN or not."""

    def call(operation: object, *args: object) -> fx.Node:
        return graph.call_function(operation, args)  # type: ignore[arg-type] - nodes and numbers, as fx takes them

    by_class = call(Aten._log_softmax.default, call(Aten.transpose.int, logits, 0, 1), 0, False)
    counted = call(Aten.ne.Scalar, target, ignored)
    classes = call(Aten.mul.Tensor, target, counted)
    picked = call(Aten.gather.default, by_class, 0, call(Aten.unsqueeze.default, classes, 0))
    loss = call(Aten.neg.default, call(Aten.select.int, picked, 0, 0))
    if weight is not None:
        loss = call(Aten.mul.Tensor, loss, call(Aten.index_select.default, weight, 0, classes))
    return call(Aten.where.ScalarOther, counted, loss, 0.0)
