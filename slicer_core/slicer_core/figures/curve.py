"""Curves: the loss along a line, several steps or runs in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

from slicer_core.figures.style import (
    FAINT,
    INK,
    FigureStyle,
    Labeled,
    Quantity,
    is_log,
    plain,
    set_title,
    title_text,
    with_room,
    within_reach,
)
from slicer_core.figures.ticks import WholeNumbers, set_log_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_SINGLE = "#2563eb"
_MOST_IN_LEGEND = 12
_MOST_INSIDE = 4
_MOST_LETTERS = 50
_LEGEND_SHARE = 0.4
_LETTERS_OF_A_LINE = 4


def draw_curve(figure: Figure, entries: Sequence[Labeled], quantity: Quantity, style: FigureStyle) -> None:
    """Each curve with a band of one standard error; of several, colors go from the first to the last."""
    axes = figure.subplots()
    first = entries[0]
    everything = np.concatenate([_values(entry, quantity) for entry in entries])
    log = is_log(style, everything)
    # The brightest end of a map is hard to see on white.
    colors = mpl.colormaps[style.color_map](np.linspace(0.0, 0.88, len(entries))) if len(entries) > 1 else [_SINGLE]
    lines = [
        draw_line(axes, entry, quantity, color=color, log=log) for entry, color in zip(entries, colors, strict=True)
    ]
    if log:
        axes.set_yscale("log")
        set_log_numbers(axes.yaxis)
    elif np.isfinite(everything).any():
        axes.yaxis.set_major_formatter(WholeNumbers())
    else:
        axes.set_yticks([])
    _draw_markers(axes, first)
    labels = {entry.data.axes[0].label for entry in entries}
    axes.set_xlabel(plain(labels.pop()) if len(labels) == 1 else "coordinate, of each curve its own")
    axes.set_ylabel(plain(quantity.label(first.data)))
    if style.limits is not None:
        axes.set_ylim(with_room(style.limits, log=log))
    axes.margins(x=0.02)
    axes.grid(color=FAINT, linewidth=0.3, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(entries) == 1:
        set_title(axes, style, first, quantity)
    else:
        unnamed = replace(first, label=quantity.label(first.data))
        axes.set_title(title_text(style, unnamed), loc="left", parse_math=False)
        _draw_legend(figure, axes, lines, [entry.label for entry in entries], style)


def draw_line(axes: Axes, entry: Labeled, quantity: Quantity, *, color: object, log: bool) -> Line2D:
    """One curve and its band; points that are not finite are gaps, marked below by crosses."""
    places = entry.data.axes[0].values.astype(np.float64)
    values = _values(entry, quantity)
    finite = np.isfinite(values)
    shown = np.where(finite, values, np.nan)
    (line,) = axes.plot(places, shown, color=color, linewidth=1.2)
    errors = quantity.values(entry.data, "stderr")
    if errors is not None:
        low = shown - errors
        if log:
            low = np.where(low > 0, low, shown)
        axes.fill_between(places, low, shown + errors, color=color, alpha=0.2, linewidth=0)
    _draw_repeats(axes, entry, quantity, color=color)
    draw_crosses(axes, places[~finite], color=color, size=4)
    draw_lone_points(axes, places, shown, color=color, size=3)
    return line


def draw_lone_points(axes: Axes, places: np.ndarray, values: np.ndarray, *, color: object, size: float) -> None:
    """Dots where a value has no neighbor that a line leads to."""
    finite = np.isfinite(values)
    joined = np.zeros(finite.shape, dtype=bool)
    joined[1:] |= finite[:-1]
    joined[:-1] |= finite[1:]
    alone = finite & ~joined
    if alone.any():
        axes.plot(places[alone], values[alone], linestyle="none", marker="o", markersize=size, color=color)


def draw_crosses(axes: Axes, places: np.ndarray, *, color: object, size: float) -> None:
    """On the lower edge, where values are not finite."""
    if places.size:
        axes.plot(
            places,
            np.zeros(places.size),
            linestyle="none",
            marker="x",
            markersize=size,
            color=color,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )


def _draw_repeats(axes: Axes, entry: Labeled, quantity: Quantity, *, color: object) -> None:
    """Where the loss was taken along several random directions: their mean, between the lowest and the highest."""
    split = quantity.split or entry.data.arrays[0].split
    arrays = {
        array.name: within_reach(array.values)
        for array in entry.data.arrays
        if array.split == split and array.role == "value"
    }
    if quantity.name != "loss" or not {"loss_mean", "loss_low", "loss_high"} <= set(arrays):
        return
    places = entry.data.axes[0].values
    low, high = arrays["loss_low"], arrays["loss_high"]
    known = np.isfinite(low) & np.isfinite(high)
    axes.fill_between(places, low, high, where=known, color=color, alpha=0.12, linewidth=0, label="_repeats")
    mean = np.where(np.isfinite(arrays["loss_mean"]), arrays["loss_mean"], np.nan)
    axes.plot(places, mean, color=color, linewidth=0.8, linestyle=(0, (4, 2)), label="_mean of repeats")


def _values(entry: Labeled, quantity: Quantity) -> np.ndarray:
    values = quantity.values(entry.data)
    assert values is not None
    return values


def _draw_markers(axes: Axes, entry: Labeled) -> None:
    for marker in entry.data.markers:
        if len(marker.coordinates) == 1 and np.isfinite(marker.coordinates[0]):
            axes.axvline(marker.coordinates[0], color=INK, linewidth=0.5, linestyle=(0, (4, 3)), alpha=0.7)
            axes.annotate(
                plain(marker.name, 24),
                (marker.coordinates[0], 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -3),
                textcoords="offset points",
                va="top",
                fontsize="x-small",
                parse_math=False,
            )


def _draw_legend(
    figure: Figure, axes: Axes, lines: Sequence[Line2D], labels: Sequence[str], style: FigureStyle
) -> None:
    # Evenly spaced ones, the first and the last among them: the colors between say the rest.
    most = min(len(lines), _MOST_IN_LEGEND)
    chosen = [int(place) for place in np.unique(np.linspace(0, len(lines) - 1, most).round())]
    outside = most > _MOST_INSIDE
    # Beside the plot, names have no more of the figure than it needs itself.
    room = int(_LEGEND_SHARE * style.width * 72 / (style.font_size * 0.9 * 0.6)) - _LETTERS_OF_A_LINE
    letters = max(room, 12) if outside else _MOST_LETTERS
    texts = _without_common_start([labels[index] for index in chosen], min(letters, _MOST_LETTERS))
    # Matplotlib leaves out labels that begin with an underscore: names are put in afterwards.
    handles, blank = [lines[index] for index in chosen], [" "] * most
    if outside:
        legend = figure.legend(handles, blank, frameon=False, loc="outside right upper", handlelength=1.4)
    else:
        legend = axes.legend(handles, blank, frameon=False, loc="best", handlelength=1.4)
    for text, label in zip(legend.get_texts(), texts, strict=True):
        text.set(text=label, parse_math=False)


def _without_common_start(labels: Sequence[str], limit: int) -> list[str]:
    """Names of at most so many letters; where some are longer, without what all begin with, up to a separator."""
    # What the first and the last in order share, all between them do.
    first, last = min(labels), max(labels)
    same = next((place for place, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), len(first))
    start = max(first.rfind(separator, 0, same) for separator in "/_ ,") + 1
    cut = start > 1 and any(len(label) > limit for label in labels)
    return [plain(f"…{label[start:]}" if cut else label, limit) for label in labels]
