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
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SINGLE = "#2563eb"
_MOST_IN_LEGEND = 12
_MOST_INSIDE = 4


def draw_curve(figure: Figure, entries: Sequence[Labeled], quantity: Quantity, style: FigureStyle) -> None:
    """Each curve with a band of one standard error; of several, colors go from the first to the last."""
    axes = figure.subplots()
    first = entries[0]
    everything = np.concatenate([_values(entry, quantity) for entry in entries])
    log = is_log(style, everything)
    # The brightest end of a map is hard to see on white.
    colors = mpl.colormaps[style.color_map](np.linspace(0.0, 0.88, len(entries))) if len(entries) > 1 else [_SINGLE]
    for entry, color in zip(entries, colors, strict=True):
        draw_line(axes, entry, quantity, color=color, log=log)
    if log:
        axes.set_yscale("log")
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
        _draw_legend(figure, axes, entries)


def draw_line(axes: Axes, entry: Labeled, quantity: Quantity, *, color: object, log: bool) -> None:
    """One curve and its band; points that are not finite are gaps, marked below by crosses."""
    places = entry.data.axes[0].values.astype(np.float64)
    values = _values(entry, quantity)
    finite = np.isfinite(values)
    shown = np.where(finite, values, np.nan)
    marker = "o" if finite.sum() <= 1 else None
    axes.plot(places, shown, color=color, linewidth=1.2, marker=marker, markersize=3, label=plain(entry.label, 50))
    errors = quantity.values(entry.data, "stderr")
    if errors is not None:
        low = shown - errors
        if log:
            low = np.where(low > 0, low, shown)
        axes.fill_between(places, low, shown + errors, color=color, alpha=0.2, linewidth=0)
    _draw_repeats(axes, entry, quantity, color=color)
    draw_crosses(axes, places[~finite], color=color, size=4)


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
    arrays = {array.name: array.values for array in entry.data.arrays if array.split == split and array.role == "value"}
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


def _draw_legend(figure: Figure, axes: Axes, entries: Sequence[Labeled]) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(entries) > _MOST_IN_LEGEND:
        # Evenly spaced ones, the first and the last among them: the colors between say the rest.
        chosen = np.unique(np.linspace(0, len(entries) - 1, _MOST_IN_LEGEND).round().astype(int))
        handles, labels = [handles[index] for index in chosen], [labels[index] for index in chosen]
    if len(labels) > _MOST_INSIDE:
        legend = figure.legend(handles, labels, frameon=False, loc="outside right upper", handlelength=1.4)
    else:
        legend = axes.legend(handles, labels, frameon=False, loc="best", handlelength=1.4)
    for text in legend.get_texts():
        text.set_parse_math(False)
