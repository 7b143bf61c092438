"""A slice of geometry curves as one sparkline a curve, each on its own scale."""

from __future__ import annotations

import numpy as np
from rich.cells import set_cell_size
from rich.text import Text

from loss_slicer.pictures.labels import (
    array_name,
    axis_labels,
    center_loss,
    end_texts,
    gaps,
    lines_text,
    number_text,
    wrapped,
)
from loss_slicer.pictures.names import distinct_names
from loss_slicer.pictures.sampling import sample_axis
from loss_slicer.pictures.scale import scale_of
from slicer_core.slices import Slice

MAX_ROWS = 12
_MIN_NAME_CELLS = 4
_MIN_LINE_CELLS = 8
_RANGE_DIGITS = 6
_BLOCKS = "▁▂▃▄▅▆▇█"
_RAMP = " .:-=o*#%@"


def draw_curves(data: Slice, width: int, color: bool) -> Text:
    """Rows of name, sparkline and range; the ends of the axis and the center below."""
    losses = data.arrays[0].values[:MAX_ROWS]
    ranges = [_range_text(row) for row in losses]
    # The range is never cut, and the line keeps some cells: a name gives way to both.
    name_cells = max(min(width // 3, width - max(map(len, ranges)) - _MIN_LINE_CELLS - 4), _MIN_NAME_CELLS)
    names = distinct_names(
        [curve.name or f"curve {number}" for number, curve in enumerate(data.curves[:MAX_ROWS])],
        name_cells,
        color=color,
    )
    gutter = max(Text(name).cell_len for name in names)
    room = width - gutter - max(map(len, ranges)) - 4
    axis = data.axes[0].values
    sampling = sample_axis(axis, room)

    label_style = "dim" if color else ""
    frame = ("│", "│") if color else ("|", "|")
    lines: list[Text] = []
    for name, row, range_text in zip(names, losses, ranges, strict=True):
        line = Text(set_cell_size(name, gutter) + " ").append(frame[0], label_style)
        for cell in _sparkline(row, sampling.indices, _BLOCKS if color else _RAMP):
            line.append(cell, ("bold red" if cell == "x" else "cyan") if color else "")
        lines.append(line.append(frame[1], label_style).append(f" {range_text}"))
    center = sampling.cell(0.0)
    labels = axis_labels(
        len(sampling.indices), float(axis.min()), float(axis.max()), [] if center is None else [(center, 0.0)]
    )
    lines.append(Text(" " * (gutter + 2) + labels, style=label_style))
    more = [Text(f"and {len(data.curves) - MAX_ROWS} more")] if len(data.curves) > MAX_ROWS else []
    pieces = [*more, *array_name(data, color=color), *center_loss(data), *gaps(data, "point")]
    lines.append(wrapped(pieces, width))
    return lines_text(lines)


def _sparkline(row: np.ndarray, indices: np.ndarray, ramp: str) -> str:
    scale = scale_of(row, robust=False)
    if scale is None:
        return "x" * indices.size
    levels = np.rint(scale.places(row)[indices] * (len(ramp) - 1))
    return "".join("x" if np.isnan(level) else ramp[int(level)] for level in levels)


def _range_text(row: np.ndarray) -> str:
    scale = scale_of(row, robust=False)
    if scale is None:
        return "not finite"
    if scale.minimum == scale.maximum:
        return number_text(scale.minimum)
    return "..".join(end_texts(scale.minimum, scale.maximum, _RANGE_DIGITS)) + (" log" if scale.log else "")
