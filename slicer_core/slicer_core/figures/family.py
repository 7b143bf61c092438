"""Families: one small plot for each parameter or layer, on shared axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from slicer_core.figures.curve import draw_crosses, draw_lone_points
from slicer_core.figures.style import (
    FAINT,
    FigureStyle,
    Labeled,
    Quantity,
    describe,
    is_log,
    plain,
    title_text,
    with_room,
)
from slicer_core.figures.ticks import WholeNumbers, set_log_numbers
from slicer_core.slices.slice import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOR = "#2563eb"
_MOST_SHOWN = 48
_INCHES_EACH = 1.5


def draw_family(figure: Figure, entries: Sequence[Labeled], quantity: Quantity, style: FigureStyle) -> None:
    """The curves in the slice's order, at most 48 of them: what is left out is said."""
    (entry,) = entries
    data = entry.data
    values = quantity.values(data)
    assert values is not None
    errors = quantity.values(data, "stderr")
    number = min(len(data.curves), _MOST_SHOWN)
    columns = max(1, min(number, int(style.width / _INCHES_EACH)))
    rows = math.ceil(number / columns)
    if style.height is None:
        figure.set_size_inches(style.width, max(1.4, rows * _INCHES_EACH + 0.6))
    log = is_log(style, values)
    plots = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for index, axes in enumerate(plots.flat):
        if index >= number:
            axes.set_visible(False)
            continue
        _draw_one(axes, data.axes[0].values, values[index], None if errors is None else errors[index], log=log)
        axes.set_title(_curve_title(data.curves[index]), fontsize=style.font_size * 0.75, pad=3, parse_math=False)
        axes.tick_params(labelsize=style.font_size * 0.75)
        if log:
            axes.set_yscale("log")
            set_log_numbers(axes.yaxis)
        elif np.isfinite(values).any():
            axes.yaxis.set_major_formatter(WholeNumbers())
        else:
            axes.set_yticks([])
        if style.limits is not None:
            axes.set_ylim(with_room(style.limits, log=log))
    # The last plot of each column has the numbers, also where the last row is not full.
    for column in range(columns):
        lowest = plots[(number - 1 - column) // columns, column]
        lowest.tick_params(labelbottom=True)
    left_out = f" · {number} of {len(data.curves)} shown" if number < len(data.curves) else ""
    text = f"{title_text(style, entry)}\n{describe(data, quantity)}{left_out}"
    figure.suptitle(text, fontsize=style.font_size, x=0.01, ha="left", parse_math=False)
    figure.supxlabel(plain(data.axes[0].label), fontsize=style.font_size)
    figure.supylabel(plain(quantity.label(data)), fontsize=style.font_size)


def _draw_one(axes: Axes, places: np.ndarray, values: np.ndarray, errors: np.ndarray | None, *, log: bool) -> None:
    shown = np.where(np.isfinite(values), values, np.nan)
    axes.plot(places, shown, color=_COLOR, linewidth=1.0)
    draw_crosses(axes, places[~np.isfinite(values)], color=_COLOR, size=2.5)
    draw_lone_points(axes, places, shown, color=_COLOR, size=2)
    if errors is not None:
        low = np.where(shown - errors > 0, shown - errors, shown) if log else shown - errors
        axes.fill_between(places, low, shown + errors, color=_COLOR, alpha=0.2, linewidth=0)
    axes.grid(color=FAINT, linewidth=0.3, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _curve_title(curve: Curve) -> str:
    center = "" if curve.center is None else f"\nat {curve.center:.3g}"
    return f"{plain(curve.name, 22)}{center}"
