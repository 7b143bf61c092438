"""A slice of geometry curve as a line: braille dots on a terminal, asterisks in a log."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich.text import Text

from loss_slicer.pictures.labels import axis_labels, end_texts, legend, lines_text
from loss_slicer.pictures.scale import scale_of, share
from slicer_core.slices import Slice

_NUM_ROWS = 8
_NUM_ROWS_PLAIN = 12
# Bits of the eight dots of a braille character, from U+2800 on.
_BRAILLE = np.array([[1, 8], [2, 16], [4, 32], [64, 128]])
_STYLES = {"+": "bold magenta", "x": "bold red"}


def draw_curve(data: Slice, width: int, color: bool) -> Text:
    """The line, its range at the left, the ends of the axis and the center (also 1 on a path) below."""
    order = np.argsort(data.axes[0].values, kind="stable")
    alphas = data.axes[0].values[order].astype(np.float64)
    losses = data.arrays[0].values[order].astype(np.float64)
    scale = scale_of(losses, robust=False)
    places = np.full(losses.shape, np.nan) if scale is None else scale.places(losses)

    num_rows = _NUM_ROWS if color else _NUM_ROWS_PLAIN
    row_labels: dict[int, str] = {}
    if scale is not None:
        low, high = end_texts(scale.low, scale.high)
        row_labels = {num_rows // 2: low} if scale.low == scale.high else {0: high, num_rows - 1: low}
    gutter = max(map(len, row_labels.values()), default=0)
    num_columns = width - gutter - 1

    down, across = (4, 2) if color else (1, 1)
    cells = _cells(alphas, places, num_rows, num_columns, dots=(down, across))
    marked = (0.0, 1.0) if data.slice_type == "linear_interpolation" else (0.0,)
    ticks = [
        (_cell(float(share(np.array(alpha), alphas[0], alphas[-1])), num_columns, across), alpha)
        for alpha in marked
        if alphas[0] <= alpha <= alphas[-1]
    ]
    if ticks and ticks[0][1] == 0.0:
        height = _center_height(alphas, places)
        cells[_cell(1.0 - height, num_rows, down), ticks[0][0]] = "+"

    label_style = "dim" if color else ""
    lines = _framed(cells, row_labels, gutter, color)
    rule = ["─" if color else "-"] * num_columns
    for column, _ in ticks:
        rule[column] = "┴" if color else "|"
    lines.append(Text(" " * gutter + ("└" if color else "-") + "".join(rule), style=label_style))
    labels = axis_labels(num_columns, float(alphas[0]), float(alphas[-1]), ticks)
    lines.append(Text(" " * (gutter + 1) + labels, style=label_style))
    lines.append(legend(data, scale, width=width, color=color, bar=None, unit="point"))
    return lines_text(lines)


def _framed(cells: np.ndarray, row_labels: Mapping[int, str], gutter: int, color: bool) -> list[Text]:
    """A line of text for each row of cells, with its label and the vertical axis before it."""
    frame, label_style, line_style = ("│", "dim", "cyan") if color else ("|", "", "")
    lines: list[Text] = []
    for number, row in enumerate(cells):
        line = Text().append(row_labels.get(number, "").rjust(gutter) + frame, label_style)
        for cell in row:
            line.append(cell, _STYLES.get(cell, line_style) if color else "")
        line.rstrip()
        lines.append(line)
    return lines


def _cells(
    alphas: np.ndarray, places: np.ndarray, num_rows: int, num_columns: int, *, dots: tuple[int, int]
) -> np.ndarray:
    """One character a cell, (num_rows, num_columns), each with `dots` (down, across) of the line."""
    down, across = dots
    canvas = np.zeros((num_rows * down, num_columns * across), dtype=bool)
    shares = share(alphas, alphas[0], alphas[-1])
    columns = np.rint(shares * (canvas.shape[1] - 1)).astype(int)
    rows = np.rint((1.0 - places) * (canvas.shape[0] - 1))
    _trace(canvas, columns, rows)
    if dots == (1, 1):
        cells = np.where(canvas, "*", " ")
    else:
        blocks = canvas.reshape(num_rows, down, num_columns, across)
        bits = np.einsum("rdca,da->rc", blocks, _BRAILLE)
        cells = np.array([[chr(0x2800 + bit) if bit else " " for bit in line] for line in bits])
    cells[0, columns[np.isnan(rows)] // across] = "x"
    return cells


def _trace(canvas: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> None:
    """Sets the dots of the line through the points, in ascending order; it is broken where a row is NaN.

    Points that share a column become one stroke from the highest to the lowest, however many there are.
    """
    previous: tuple[int, float] | None = None
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], columns.size], strict=True):
        column, here = int(columns[start]), rows[start:stop]
        finite = here[np.isfinite(here)]
        if finite.size:
            canvas[int(finite.min()) : int(finite.max()) + 1, column] = True
        if previous is not None and np.isfinite(here[0]):
            _connect(canvas, previous, (column, here[0]))
        previous = (column, here[-1]) if np.isfinite(here[-1]) else None


def _connect(canvas: np.ndarray, start: tuple[int, float], end: tuple[int, float]) -> None:
    steps = int(max(abs(end[0] - start[0]), abs(end[1] - start[1]))) + 1
    across = np.rint(np.linspace(start[0], end[0], steps)).astype(int)
    down = np.rint(np.linspace(start[1], end[1], steps)).astype(int)
    canvas[down, across] = True


def _center_height(alphas: np.ndarray, places: np.ndarray) -> float:
    """The place of the line at alpha = 0; the bottom where the line has no value there."""
    exact = np.flatnonzero(alphas == 0.0)
    place = float(places[exact[0]] if exact.size else np.interp(0.0, alphas, places))
    return 0.0 if np.isnan(place) else place


def _cell(part: float, num_cells: int, dots: int) -> int:
    """The cell that holds the dot at a part from 0 to 1 of `num_cells` cells, each with so many dots."""
    return round(part * (num_cells * dots - 1)) // dots
