"""Which tiles a checkpoint has, and which of them are left to evaluate."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from slicer_core.methods.tile_names import range_tile, tile_range

Bounds = tuple[int, int]

CALIBRATION: tuple[Bounds, ...] = ((0, 2), (2, 8))
"""Points that are timed where no trials of strategies have told how long one takes."""


def disjoint(names: Iterable[str]) -> list[Bounds]:
    """The ranges among tile names, ascending; of those that overlap, as a job's shards by another count leave them, the
    ones that have the most points together.

    Which ones is the same whatever the order in which they came.
    """
    found = {bounds for name in names if (bounds := tile_range(name)) is not None}
    ranges = sorted(found, key=lambda bounds: (bounds[1], bounds[0]))
    ends = [stop for _, stop in ranges]
    # Of the first ranges, one more each time: the most points, and the range that is taken last for them.
    best: list[tuple[int, int | None]] = [(0, None)]
    for index, (start, stop) in enumerate(ranges):
        points = best[bisect_right(ends, start, 0, index)][0] + stop - start
        best.append((points, index) if points > best[-1][0] else best[-1])
    chosen: list[Bounds] = []
    last = best[-1][1]
    while last is not None:
        chosen.append(ranges[last])
        last = best[bisect_right(ends, ranges[last][0], 0, last)][1]
    return chosen[::-1]


def missing(
    done: Sequence[Bounds], num_points: int, tile_points: int, pieces: Sequence[Bounds] | None = None
) -> list[Bounds]:
    """The ranges that are left, cut where they are cut in a run without a stop: a point's tile is always the same.

    `pieces`: of these parts of the points only, each cut for itself.
    """
    if pieces is None:
        first = min(CALIBRATION[-1][1], num_points) if CALIBRATION[0] in done else 0
        pieces = [(0, first), (first, num_points)]
    return [bounds for piece in pieces for bounds in _missing_of(done, piece, tile_points)]


def _missing_of(done: Sequence[Bounds], piece: Bounds, tile_points: int) -> list[Bounds]:
    first, last = piece
    found: list[Bounds] = []
    end = first
    for low, high in [*done, (last, last)]:
        start = end
        while start < min(low, last):
            stop = min(low, last, first + tile_points * ((start - first) // tile_points + 1))
            found.append((start, stop))
            start = stop
        end = max(end, high)
    return found


def range_names(ranges: Iterable[Bounds]) -> list[str]:
    """Their tiles' names."""
    return [range_tile(*bounds) for bounds in ranges]
