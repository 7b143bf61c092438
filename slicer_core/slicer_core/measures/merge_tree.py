"""In which order the valleys of a slice flow together as the level rises: its merge tree, by union-find.

Edelsbrunner, Harer, "Computational topology", AMS 2010, chapter VII; Landscaper reports the same of loss landscapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A valley that ends where it meets a deeper one: positions of its minimum and of that saddle, and the levels."""

    minimum: int
    saddle: int
    birth: float
    death: float


@dataclass(frozen=True, kw_only=True)
class MergeTree:
    """`lowest`: the position of the lowest point, whose valley never ends (None where nothing is finite).

    `pairs`: all other valleys, in the order in which they end.
    """

    lowest: int | None
    pairs: tuple[Pair, ...]


def merge_tree(values: np.ndarray) -> MergeTree:
    """The sublevel sets' components of values of shape (n,), 2 neighbors, or (n0, n1), 8 neighbors.

    A value that is not finite counts as +∞; of equal values the one with the lower position comes first. Of two
    valleys that meet, the one whose minimum comes later ends. Valleys without depth, that end at the level of their
    minimum, are left out.
    """
    levels = np.where(np.isfinite(values), values, np.inf).reshape(-1)
    order = np.argsort(levels, kind="stable")
    neighbors = _neighbors(values.shape)
    heights: list[float] = levels.tolist()
    # -1: not reached yet. The root of a component is its minimum.
    parent = [-1] * len(heights)
    rank = [0] * len(heights)
    for place, position in enumerate(order.tolist()):
        rank[position] = place
    pairs: list[Pair] = []

    def root_of(position: int) -> int:
        root = position
        while parent[root] != root:
            root = parent[root]
        while parent[position] != root:
            parent[position], position = root, parent[position]
        return root

    for position in order.tolist():
        parent[position] = position
        for other in neighbors(position):
            if parent[other] < 0:
                continue
            left, right = root_of(position), root_of(other)
            if left == right:
                continue
            older, younger = (left, right) if rank[left] < rank[right] else (right, left)
            parent[younger] = older
            if heights[younger] < heights[position]:
                pairs.append(Pair(minimum=younger, saddle=position, birth=heights[younger], death=heights[position]))
    lowest = int(order[0])
    return MergeTree(lowest=lowest if np.isfinite(levels[lowest]) else None, pairs=tuple(pairs))


def _neighbors(shape: Sequence[int]):
    """Position -> the positions next to it, diagonal ones too."""
    if len(shape) == 1:
        (size,) = shape
        return lambda position: (other for other in (position - 1, position + 1) if 0 <= other < size)
    rows, columns = shape

    def around(position: int) -> Iterator[int]:
        row, column = divmod(position, columns)
        for near in range(max(0, row - 1), min(rows, row + 2)):
            for beside in range(max(0, column - 1), min(columns, column + 2)):
                if near != row or beside != column:
                    yield near * columns + beside

    return around
