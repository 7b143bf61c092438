"""The checkpoints' path: where it runs in the plane, the loss along it, and how far it lies out of the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from slicer_core.errors import UsageError
from slicer_core.figures.contour import add_color_bar, draw_plane
from slicer_core.figures.contour_labels import label_contours
from slicer_core.figures.style import FAINT, FigureStyle, Labeled, Quantity, plain, set_title, within_reach
from slicer_core.figures.ticks import set_log_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOSS = "#2563eb"
_RESIDUAL = "#b45309"


def draw_trajectory(figure: Figure, entries: Sequence[Labeled], quantity: Quantity, style: FigureStyle) -> None:
    """The plane above, the losses and out-of-plane distances by step below.

    Raises:
        UsageError: the slice has no path.
    """
    (entry,) = entries
    trajectory = entry.data.trajectory
    if not trajectory or not trajectory.get("steps"):
        raise UsageError("--view trajectory: the slice has no path of checkpoints; `--method pca2d` gives one")
    if style.height is None:
        figure.set_size_inches(style.width, style.width * 1.1)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1))
    plane = draw_plane(upper, entry.data, quantity, style)
    if plane is not None:
        add_color_bar(figure, upper, plane.image, entry.data, quantity)
    set_title(upper, style, entry, quantity)
    steps = np.asarray(trajectory["steps"], dtype=np.float64)
    _draw_losses(lower, entry, quantity, steps)
    residuals = np.asarray(trajectory.get("residuals", []), dtype=np.float64)
    if residuals.shape == steps.shape:
        other = lower.twinx()
        other.plot(steps, residuals, color=_RESIDUAL, linewidth=1.0, marker="s", markersize=2.5)
        other.set_ylabel("distance from\nthe plane", color=_RESIDUAL)
        other.spines["top"].set_visible(False)
    lower.set_xlabel(entry.data.step_unit)
    lower.grid(color=FAINT, linewidth=0.3, alpha=0.6)
    if plane is not None and plane.lines is not None:
        label_contours(figure, upper, plane.lines, style)


def _draw_losses(axes: Axes, entry: Labeled, quantity: Quantity, steps: np.ndarray) -> None:
    trajectory = entry.data.trajectory or {}
    losses = trajectory.get("losses") or {}
    split = quantity.split or entry.data.arrays[0].split
    values = within_reach(np.asarray(losses.get(split, []), dtype=np.float64))
    axes.set_ylabel(plain(f"loss ({split})"), color=_LOSS)
    if values.shape == steps.shape:
        axes.plot(steps, values, color=_LOSS, linewidth=1.0, marker="o", markersize=2.5)
        if np.all(values > 0) and values.max() > 50 * values.min():
            axes.set_yscale("log")
            set_log_numbers(axes.yaxis)
