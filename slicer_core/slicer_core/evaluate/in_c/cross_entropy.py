"""Cross-entropy over few classes in C, as `split_cross_entropy` leaves it in a graph."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from slicer_core.evaluate.native import library
from slicer_core.evaluate.replaced import Call, Form, Forms, Replaced, Replacement

Aten = torch.ops.aten

SOURCE = Path(__file__).with_name("cross_entropy.c")
# What follows the scores, of which each reads the one before, and what else they are given; None for targets.
_CHAIN: Sequence[tuple[Any, tuple[Any, ...]]] = (
    (Aten._log_softmax.default, (0, False)),
    (Aten.gather.default, (0, None)),
    (Aten.select.int, (0, 0)),
    (Aten.neg.default, ()),
)


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The compiled functions; None where there is no compiler, or it fails."""
    found = library(SOURCE)
    if found is not None:
        number, pointer = ctypes.c_ssize_t, ctypes.c_void_p
        found.cross_entropy.argtypes = [pointer, number, number, number, number, pointer, pointer]
        found.cross_entropy.restype = None
    return found


def cross_entropies(
    nodes: Sequence[fx.Node], form: Forms, constants: Mapping[fx.Node, Any], results: Collection[fx.Node]
) -> Replaced:
    """Those of nodes that run one after another: see `operations_in_c`. Nobody else reads what lies between."""
    general, kept, found = set(nodes), set(results), dict[fx.Node, Replacement]()
    for node in nodes:
        if not (chain := _chain(node, general, kept)):
            continue
        targets = _targets(chain, constants)
        if targets is not None and _fits(form(chain[0]), targets):
            # Each is handed what it is given.
            passed_on = dict(zip(chain[1:-1], chain, strict=False))
            found[node] = Replacement(functools.partial(_into, targets=targets), passed_on=passed_on)
    return found


def _chain(last: fx.Node, general: set[fx.Node], kept: set[fx.Node]) -> list[fx.Node]:
    """The scores and the operations up to the last, if they are a cross-entropy; else none."""
    found, node = [last], last
    for target, given in reversed(_CHAIN):
        if node not in general or node.target is not target or node.kwargs or len(node.args) != 1 + len(given):
            return []
        if node is not last and (len(node.users) != 1 or node in kept):
            return []
        scores, *own = node.args
        is_alike = all(wanted in (None, has) for has, wanted in zip(own, given, strict=True))
        if not is_alike or not isinstance(scores, fx.Node):
            return []
        found.insert(0, node := scores)
    return found


def _targets(chain: Sequence[fx.Node], constants: Mapping[fx.Node, Any]) -> Tensor | None:
    """The classes of targets, where they are the same at every point."""
    given = chain[2].args[2]
    found = constants.get(given) if isinstance(given, fx.Node) else None
    return found if isinstance(found, Tensor) else None


def _fits(scores: Form, targets: Tensor) -> bool:
    sizes, dtype, device, _ = scores
    if len(sizes) != 2 or dtype is not torch.float32 or device.type != "cpu":
        return False
    classes, rows = sizes
    if targets.dtype is not torch.int64 or targets.shape != (1, rows) or not targets.is_contiguous() or not rows:
        return False
    functions = compiled()
    if functions is None or classes > ctypes.c_ssize_t.in_dll(functions, "cross_entropy_classes").value:
        return False
    # torch's operation says what is wrong with others.
    return bool(((targets >= 0) & (targets < classes)).all())


def _into(out: Tensor, *, targets: Tensor) -> Call:
    functions = compiled()
    assert functions is not None

    def write(scores: Tensor) -> Tensor:
        # They are of shape (classes, rows).
        sizes = *reversed(scores.shape), *reversed(scores.stride())
        functions.cross_entropy(scores.data_ptr(), *sizes, targets.data_ptr(), out.data_ptr())
        return out

    return write
