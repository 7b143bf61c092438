"""Grids as a surface in three dimensions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from slicer_core.errors import UsageError
from slicer_core.figures.style import FigureStyle, Labeled, Quantity, color_limits, describe, is_log, plain, title_text
from slicer_core.figures.ticks import number_texts, round_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINTS_PER_INCH = 72
# For the numbers of an axis, and for each line of its label.
_ROOM_IN_EM, _ROOM_OF_A_LINE = 3.0, 1.5
# Characters of a line for each font size that the figure's shorter side has.
_LINE_SHARE = 0.75


def draw_surface(figure: Figure, entries: Sequence[Labeled], quantity: Quantity, style: FigureStyle) -> None:
    """The surface with its contour lines on the floor. Cells that are not finite are holes.

    Raises:
        UsageError: an axis has one point only, or no value is finite.
    """
    (entry,) = entries
    data = entry.data
    values = quantity.values(data)
    assert values is not None
    if min(values.shape) < 2 or not np.isfinite(values).any():
        raise UsageError("--view surface needs two points along each axis and a finite value: give --view contour")
    log = is_log(style, values)
    limits = style.limits or color_limits(values, name=quantity.name, log=log)
    # mplot3d has no logarithmic axis, so the logarithms are drawn and the ticks named after the values.
    with np.errstate(invalid="ignore"):
        heights = np.log10(values) if log else values
    low, high = np.log10(limits) if log else limits
    heights = np.where(np.isfinite(heights), np.minimum(heights, high), np.nan)
    axes: Any = figure.add_subplot(projection="3d", computed_zorder=False)
    first, second = np.meshgrid(data.axes[0].values, data.axes[1].values, indexing="ij")
    axes.plot_surface(
        first,
        second,
        heights,
        cmap=style.color_map,
        norm=Normalize(low, high if high > low else low + 1),
        rcount=200,
        ccount=200,
        linewidth=0,
        antialiased=False,
        rasterized=True,
    )
    if high > low and isinstance(style.levels, int) and style.levels:
        floor = low - 0.25 * (high - low)
        axes.contour(
            first, second, np.ma.masked_invalid(heights), levels=style.levels, cmap=style.color_map, offset=floor,
            linewidths=0.7,
        )  # fmt: skip
        axes.set_zlim(floor, high)
    in_em = min(figure.get_size_inches()) * _POINTS_PER_INCH / style.font_size
    labels = [_in_lines(plain(axis.label), in_em) for axis in data.axes]
    for put, label in zip((axes.set_xlabel, axes.set_ylabel), labels, strict=True):
        # The middle of a label stands at its distance from the axis.
        put(label, labelpad=4 + 0.55 * style.font_size * label.count("\n"))
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_major_locator(MaxNLocator(4))
    if log:
        numbers = round_numbers(*limits, 4)
        axes.zaxis.set_major_locator(FixedLocator([float(height) for height in np.log10(numbers)]))
        axes.zaxis.set_major_formatter(FixedFormatter(number_texts(numbers)))
    axes.set_zlabel(plain(quantity.label(data)) + _offset_text(axes.zaxis))
    axes.tick_params(labelsize=style.font_size * 0.8, pad=1)
    axes.view_init(elev=32, azim=-58)
    # At its own size the box leaves no room for the labels of its axes, which are as large in a small figure.
    room = _ROOM_IN_EM + _ROOM_OF_A_LINE * max(label.count("\n") + 1 for label in labels)
    axes.set_box_aspect((1, 1, 0.75), zoom=max(0.4, 0.95 - room / in_em))
    highest = values[np.isfinite(values)].max()
    beyond = f" · cut off at {limits[1]:.3g}" if highest > limits[1] else ""
    text = f"{title_text(style, entry)}\n{describe(data, quantity)}{beyond}"
    figure.suptitle(text, fontsize=style.font_size, x=0.02, ha="left", parse_math=False)


def _offset_text(axis: Any) -> str:
    """What the axis' numbers lack, for its label: matplotlib writes it where the label is."""
    axis.get_offset_text().set_visible(False)
    axis.get_major_formatter().set_locs(axis.get_majorticklocs())
    offset = axis.get_major_formatter().get_offset()
    return f" {offset}" if offset else ""


def _in_lines(label: str, in_em: float) -> str:
    """Along a slanted axis a long line would run out of the figure, or into the other axis' label."""
    parts = label.replace(" (", "\n(").split("\n")
    return "\n".join(line for part in parts for line in textwrap.wrap(part, max(8, int(_LINE_SHARE * in_em))))
