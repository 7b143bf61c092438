"""Small pictures of slices, drawn in characters for a terminal or a log file. Numpy and rich only, no torch."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from loss_slicer.pictures.curve import draw_curve
from loss_slicer.pictures.curves import draw_curves
from loss_slicer.pictures.grid import draw_grid
from slicer_core.slices import Slice
from slicer_core.slices.types import Geometry

__all__ = ["MIN_WIDTH", "picture"]

MIN_WIDTH = 40
"""Cells below which labels and values have no room: a narrower picture is not drawn."""

_DRAWERS: dict[Geometry, Callable[[Slice, int, bool], Text]] = {
    "curve": draw_curve,
    "curves": draw_curves,
    "grid": draw_grid,
}


def picture(data: Slice, *, width: int = 60, color: bool) -> Text:
    """The first array of a slice (the training loss, or the only split's) as lines of text.

    `Console.print` forgets that a text is not to be wrapped: print it with `no_wrap=True, overflow="crop"`, or as a
    part of a rich table or group, where a terminal may be narrower than `width`.

    Args:
        data: any slice; values that are not finite are drawn as `x` and counted.
        width: terminal cells that no line exceeds; `MIN_WIDTH` if it is less.
        color: with 24-bit colors, braille and block characters, for a terminal; otherwise ASCII without any style,
            which survives a log file.
    """
    return _DRAWERS[data.geometry](data, max(width, MIN_WIDTH), color)
