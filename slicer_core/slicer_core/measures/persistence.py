"""How deep the valleys of a slice are, each up to the saddle where it meets a deeper one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slicer_core.measures.field import LossField
from slicer_core.measures.merge_tree import Pair, merge_tree
from slicer_core.slices import Measure

SIGNIFICANT = 2.0
"""Standard errors below which a pair's persistence may be chance."""
MAX_PAIRS = 50
"""So many of the most persistent pairs are in `details`."""


def persistence(field: LossField) -> dict[str, Measure]:
    """The largest persistence L(saddle) - L(minimum) of a valley besides the deepest, in the units of the loss.

    0 where there is one valley only, infinite where losses that are not finite lie between two. Sublevel sets' H₀, see
    `merge_tree`. The error is the paired one of the difference. `details`: `pairs`, the most persistent first, each
    with coordinates and losses of minimum and saddle, its error, `boundary` where the minimum lies on the edge of the
    grid, beyond which the valley may go on, and `within_error` where the persistence is below 2 standard errors;
    `number` of all pairs and of those beyond their error (`significant`); the deepest minimum (`lowest`), which is no
    pair's.
    """
    tree = merge_tree(field.values)
    if tree.lowest is None:
        return {}
    pairs = sorted(tree.pairs, key=lambda pair: pair.birth - pair.death)
    described = [_describe(field, pair) for pair in pairs]
    _, kind = field.difference_error(np.array([tree.lowest, tree.lowest]), np.array([1.0, -1.0]))
    details: dict[str, Any] = {
        "lowest": {"at": field.place(tree.lowest), "loss": float(field.values.flat[tree.lowest])}
        | _edge(field, tree.lowest),
        "number": len(pairs),
        "significant": sum(not entry.get("within_error", False) for entry in described),
        "pairs": described[:MAX_PAIRS],
        "error": kind,
    }
    if not pairs:
        return {"persistence": Measure(value=0.0, details=details)}
    return {
        "persistence": Measure(value=pairs[0].death - pairs[0].birth, error=described[0].get("error"), details=details)
    }


def _describe(field: LossField, pair: Pair) -> dict[str, Any]:
    depth = pair.death - pair.birth
    found: dict[str, Any] = {
        "minimum": field.place(pair.minimum),
        "minimum_loss": pair.birth,
        "saddle": field.place(pair.saddle),
        "saddle_loss": pair.death,
        "persistence": depth,
    }
    error, _ = field.difference_error(np.array([pair.saddle, pair.minimum]), np.array([1.0, -1.0]))
    if error is not None and math.isfinite(depth):
        found["error"] = error
        if depth < SIGNIFICANT * error:
            found["within_error"] = True
    return found | _edge(field, pair.minimum)


def _edge(field: LossField, position: int) -> dict[str, bool]:
    index = np.unravel_index(position, field.values.shape)
    on_edge = any(entry in (0, size - 1) for entry, size in zip(index, field.values.shape, strict=True))
    return {"boundary": True} if on_edge else {}
