"""The views by name, and figures as files."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicer_core.errors import UsageError
from slicer_core.figures.style import FigureStyle, Labeled, Quantity, missing_glyphs_allowed, new_figure, rc_parameters
from slicer_core.slices.types import Geometry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_FORMATS = ("png", "svg", "pdf")


@dataclass(frozen=True, kw_only=True)
class View:
    """One way to draw slices of a geometry. `home` is `module:function`; `overlays`: several slices in one figure."""

    name: str
    geometry: Geometry
    summary: str
    home: str
    overlays: bool = False


VIEWS: dict[str, View] = {
    view.name: view
    for view in (
        View(
            name="curve",
            geometry="curve",
            summary="loss along a line, several steps or runs in one figure, with standard errors",
            home="slicer_core.figures.curve:draw_curve",
            overlays=True,
        ),
        View(
            name="family",
            geometry="curves",
            summary="small multiples, one for each parameter or layer",
            home="slicer_core.figures.family:draw_family",
        ),
        View(
            name="contour",
            geometry="grid",
            summary="heat map with contour lines, markers and the checkpoints' path",
            home="slicer_core.figures.contour:draw_contour",
        ),
        View(
            name="surface",
            geometry="grid",
            summary="the same as a surface in three dimensions",
            home="slicer_core.figures.surface:draw_surface",
        ),
        View(
            name="trajectory",
            geometry="grid",
            summary="the checkpoints' path in the plane, their losses, and how far they lie out of it",
            home="slicer_core.figures.trajectory:draw_trajectory",
        ),
    )
}
"""Name -> view; the first of a geometry is its default."""


def default_view(geometry: Geometry) -> View:
    """The view that a slice of the geometry has unless another is asked for."""
    return next(view for view in VIEWS.values() if view.geometry == geometry)


def draw(
    entries: Sequence[Labeled],
    *,
    view: str | None = None,
    quantity: Quantity | None = None,
    style: FigureStyle | None = None,
) -> Figure:
    """One figure of one slice, or of several where the view overlays them.

    Raises:
        UsageError: the view is of another geometry or shows one slice only, the quantity is not in the slice, or
            matplotlib is not installed.
    """
    if not entries:
        raise UsageError("there is no slice to draw")
    geometry = entries[0].data.geometry
    chosen = default_view(geometry) if view is None else VIEWS.get(view)
    if chosen is None:
        raise UsageError(f"--view {view!r} is not one of {', '.join(VIEWS)}")
    for entry in entries:
        if entry.data.geometry != chosen.geometry:
            fitting = ", ".join(other.name for other in VIEWS.values() if other.geometry == entry.data.geometry)
            raise UsageError(f"--view {chosen.name} does not show {entry.data.geometry} slices: give one of {fitting}")
    if len(entries) > 1 and not chosen.overlays:
        raise UsageError(f"--view {chosen.name} shows one slice in a figure, {len(entries)} are given")
    settings = style or FigureStyle()
    figure = new_figure(settings, settings.width * 0.75)
    module, _, function = chosen.home.partition(":")
    import matplotlib as mpl

    with mpl.rc_context(rc_parameters(settings)):
        getattr(importlib.import_module(module), function)(figure, entries, quantity or Quantity(), settings)
    return figure


def save(figure: Figure, file_format: str, style: FigureStyle | None = None) -> bytes:
    """The content of a file of one of FIGURE_FORMATS; the same figure gives the same bytes.

    Raises:
        UsageError: there is no such format.
    """
    if file_format not in FIGURE_FORMATS:
        raise UsageError(f"figure format {file_format!r} is not one of {', '.join(FIGURE_FORMATS)}")
    import matplotlib as mpl

    settings = style or FigureStyle()
    dates = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    stream = io.BytesIO()
    with mpl.rc_context(rc_parameters(settings)), missing_glyphs_allowed():
        figure.savefig(stream, format=file_format, dpi=settings.dots_per_inch, metadata=dates[file_format])
    return stream.getvalue()
