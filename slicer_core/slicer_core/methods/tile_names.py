"""The names of the tiles of a split: what of a slice each of them holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # At run time it would bring torch, which who only looks at a store does without.
    from slicer_core.plan import PlannedMarker

POINTS = "points"
"""The name of the tile that holds all points of a slice."""
WHOLE = "whole"
"""The name of the tile that holds the center alone, on all samples of a split of which the points have a part."""
_RANGE = f"{POINTS}:"


def marker_tile(marker: PlannedMarker) -> str:
    """The name of a marker's tile."""
    return f"marker:{marker.name}"


def path_tile(step: int) -> str:
    """The name of the tile of a checkpoint on the trajectory."""
    return f"path:{step}"


def range_tile(start: int, stop: int) -> str:
    """The name of the tile with the points from `start` up to `stop` of the coarse-to-fine order."""
    return f"{_RANGE}{start}-{stop}"


def tile_range(name: str) -> tuple[int, int] | None:
    """What `range_tile` made the name of; None for other tiles."""
    start, dash, stop = name.removeprefix(_RANGE).partition("-")
    if not (name.startswith(_RANGE) and dash and start.isdecimal() and stop.isdecimal()):
        return None
    return int(start), int(stop)
