"""Which tiles a checkpoint has, and which of them are left to evaluate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slicer_core.methods.tile_names import range_tile, tile_range

Bounds = tuple[int, int]

CALIBRATION: tuple[Bounds, ...] = ((0, 2), (2, 8))
"""Points that are timed where no trials of strategies have told how long one takes."""


def disjoint(names: Iterable[str]) -> list[Bounds]:
    """The ranges among tile names, ascending; of those that overlap, as other jobs' shards may leave them, the longest.

    Which ones is the same whatever the order in which they came.
    """
    ranges = [bounds for name in names if (bounds := tile_range(name)) is not None]
    chosen: list[Bounds] = []
    for start, stop in sorted(ranges, key=lambda bounds: (bounds[0] - bounds[1], bounds)):
        if all(stop <= low or high <= start for low, high in chosen):
            chosen.append((start, stop))
    return sorted(chosen)


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
