"""Grids seen from above: a heat map with contour lines, the center, markers and the checkpoints' path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm, Normalize

from slicer_core.figures.contour_labels import label_contours
from slicer_core.figures.style import (
    FigureStyle,
    Labeled,
    Quantity,
    color_limits,
    contour_levels,
    is_log,
    plain,
    set_title,
)
from slicer_core.figures.ticks import WholeNumbers, set_log_numbers
from slicer_core.slices import Slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.contour import QuadContourSet
    from matplotlib.figure import Figure

_HALO = "#ffffff"
_PATH = "#dc2626"
_MOST_STEP_LABELS = 6


@dataclass(frozen=True, kw_only=True)
class Plane:
    """What was drawn: the heat map, and the contour lines where there are any."""

    image: ScalarMappable
    lines: QuadContourSet | None


def draw_contour(figure: Figure, entries: Sequence[Labeled], quantity: Quantity, style: FigureStyle) -> None:
    """One grid with its color bar."""
    (entry,) = entries
    axes = figure.subplots()
    plane = draw_plane(axes, entry.data, quantity, style)
    if plane is not None:
        add_color_bar(figure, axes, plane.image, entry.data, quantity)
    set_title(axes, style, entry, quantity)
    if plane is not None and plane.lines is not None:
        label_contours(figure, axes, plane.lines, style)


def draw_plane(axes: Axes, data: Slice, quantity: Quantity, style: FigureStyle) -> Plane | None:
    """Heat map, lines, center, markers and path. Cells that are not finite are hatched. None: no cell is finite."""
    values = quantity.values(data)
    assert values is not None
    first, second = (axis.values.astype(np.float64) for axis in data.axes)
    axes.set(xlim=cell_edges(first)[[0, -1]], ylim=cell_edges(second)[[0, -1]])
    axes.set_xlabel(plain(data.axes[0].label))
    axes.set_ylabel(plain(data.axes[1].label))
    axes.yaxis.set_major_formatter(WholeNumbers())
    axes.patch.set(hatch="////", facecolor="#f3f4f6")
    shown = np.ma.masked_invalid(values)
    if shown.count() == 0:
        axes.text(0.5, 0.5, "no finite value", transform=axes.transAxes, ha="center", va="center")
        return None
    log = is_log(style, values)
    limits = style.limits or color_limits(values, name=quantity.name, log=log)
    norm = LogNorm(*limits) if log and limits[0] < limits[1] else Normalize(*limits)
    image = axes.pcolormesh(
        cell_edges(first), cell_edges(second), shown.T, cmap=style.color_map, norm=norm, rasterized=True
    )
    levels = contour_levels(style, limits, log=log)
    lines = None
    if min(values.shape) > 1 and levels.size:
        lines = axes.contour(first, second, shown.T, levels=levels, colors=_HALO, linewidths=0.6, alpha=0.8)
    draw_path(axes, data)
    _draw_points(axes, data)
    return Plane(image=image, lines=lines)


def add_color_bar(figure: Figure, axes: Axes, image: ScalarMappable, data: Slice, quantity: Quantity) -> None:
    """With an arrow on top where values lie beyond the last color."""
    values = quantity.values(data)
    assert values is not None
    beyond = bool(np.nanmax(np.where(np.isfinite(values), values, np.nan)) > image.norm.vmax)
    log = isinstance(image.norm, LogNorm)
    numbers = None if log else WholeNumbers()
    bar = figure.colorbar(image, ax=axes, extend="max" if beyond else "neither", pad=0.02, format=numbers)
    if log:
        set_log_numbers(bar.ax.yaxis)
    bar.set_label(plain(quantity.label(data)))
    bar.outline.set_linewidth(0.5)


def draw_path(axes: Axes, data: Slice) -> None:
    """The checkpoints' path, with some of their steps."""
    trajectory = data.trajectory
    if not trajectory:
        return
    coordinates = np.asarray(trajectory.get("coordinates", []), dtype=np.float64)
    if coordinates.ndim != 2 or coordinates.shape[1] != 2:
        return
    axes.plot(*coordinates.T, color=_HALO, linewidth=2.4, alpha=0.9)
    axes.plot(*coordinates.T, color=_PATH, linewidth=1.1, marker="o", markersize=2.5)
    steps = list(trajectory.get("steps", []))
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _MOST_STEP_LABELS)).round().astype(int))
    for index in chosen:
        _note(axes, str(steps[index]), (coordinates[index, 0], coordinates[index, 1]))


def cell_edges(places: np.ndarray) -> np.ndarray:
    """The borders between cells, halfway between points: (n,) -> (n + 1,)."""
    if places.size == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    middles = (places[1:] + places[:-1]) / 2
    return np.concatenate([[2 * places[0] - middles[0]], middles, [2 * places[-1] - middles[-1]]])


def _draw_points(axes: Axes, data: Slice) -> None:
    if data.slice_type != "plane":
        axes.plot(0, 0, marker="+", markersize=8, markeredgewidth=1.6, color=_HALO)
        axes.plot(0, 0, marker="+", markersize=7, markeredgewidth=0.8, color="#111827")
    for marker in data.markers:
        if len(marker.coordinates) == 2 and np.isfinite(marker.coordinates).all():
            axes.plot(*marker.coordinates, marker="D", markersize=4, color=_PATH, markeredgecolor=_HALO)
            _note(axes, plain(marker.name, 24), marker.coordinates)


def _note(axes: Axes, text: str, place: tuple[float, ...]) -> None:
    from matplotlib.patheffects import withStroke

    axes.annotate(
        text,
        (place[0], place[1]),
        xytext=(4, 4),
        textcoords="offset points",
        fontsize="x-small",
        parse_math=False,
        path_effects=[withStroke(linewidth=1.8, foreground=_HALO)],
        annotation_clip=True,
    )
