"""A slice of geometry grid as colored half blocks on a terminal, as shades of characters in a log."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.style import Style
from rich.text import Text

from loss_slicer.pictures.colors import Rgb, contrasting, hexadecimal, viridis
from loss_slicer.pictures.labels import axis_labels, end_texts, legend, lines_text
from loss_slicer.pictures.sampling import Sampling, sample_axis
from loss_slicer.pictures.scale import scale_of
from slicer_core.slices import Slice

_NUM_ROWS = 16
# No plus sign among the shades: it is the center.
RAMP = " .:-=o*#%@"
_NOT_FINITE: Rgb = (96, 96, 96)
_BAR_CELLS = 12


def draw_grid(data: Slice, width: int, color: bool) -> Text:
    """The plane with axes[0] to the right and axes[1] upward, its legend below."""
    across_axis, up_axis = data.axes
    low, high = end_texts(float(up_axis.values.min()), float(up_axis.values.max()))
    gutter = max(len(low), len(high))
    across = sample_axis(across_axis.values, width - gutter - 2)
    up = sample_axis(up_axis.values, _NUM_ROWS * (2 if color else 1))

    losses = data.arrays[0].values
    scale = scale_of(losses, robust=True)
    places = np.full(losses.shape, np.nan) if scale is None else scale.places(losses)
    # Row 0 of a picture is its top.
    shown = places[np.ix_(across.indices, up.indices)].T[::-1]
    center = _center(across, up)
    rows = list(_colored_rows(shown, center) if color else _plain_rows(shown, center))

    row_labels = {len(rows) // 2: low} if low == high else {0: high, len(rows) - 1: low}
    if center is not None and 1 < (center_row := center[0] // (2 if color else 1)) < len(rows) - 2:
        row_labels[center_row] = "0"
    label_style = "dim" if color else ""
    side = "" if color else "|"
    lines = [
        Text().append(row_labels.get(number, "").rjust(gutter) + (" " if color else "|"), label_style) + row + side
        for number, row in enumerate(rows)
    ]
    labels = axis_labels(
        across.indices.size,
        float(across_axis.values.min()),
        float(across_axis.values.max()),
        [] if center is None else [(center[1], 0.0)],
    )
    lines.append(Text(" " * (gutter + 1) + labels, style=label_style))
    lines.append(legend(data, scale, width=width, color=color, bar=_bar(color), unit="cell"))
    return lines_text(lines)


def _center(across: Sampling, up: Sampling) -> tuple[int, int] | None:
    """(row from the top, column) of the point (0, 0), None where it is outside."""
    column, height = across.cell(0.0), up.cell(0.0)
    return None if column is None or height is None else (up.indices.size - 1 - height, column)


def _plain_rows(shown: np.ndarray, center: tuple[int, int] | None) -> Iterator[Text]:
    for number, row in enumerate(shown):
        cells = ["x" if np.isnan(place) else RAMP[min(int(place * len(RAMP)), len(RAMP) - 1)] for place in row]
        if center is not None and center[0] == number:
            cells[center[1]] = "+"
        yield Text("".join(cells))


def _colored_rows(shown: np.ndarray, center: tuple[int, int] | None) -> Iterator[Text]:
    """Two pixels a character: the upper half block in the color of the upper one, on that of the lower."""
    for top in range(0, len(shown), 2):
        line = Text()
        for column, pair in enumerate(shown[top : top + 2].T):
            if center is not None and center[0] // 2 == top // 2 and center[1] == column:
                ground = _pixel(float(pair[center[0] - top]))
                line.append("+", Style(color=contrasting(ground), bgcolor=hexadecimal(ground), bold=True))
            elif np.isnan(pair).any():
                ground = _pixel(float(np.nanmax(pair))) if np.isfinite(pair).any() else _NOT_FINITE
                line.append("x", Style(color=contrasting(ground), bgcolor=hexadecimal(ground)))
            else:
                colors = [hexadecimal(_pixel(float(place))) for place in pair]
                # The lower half of the last line may have no pixel.
                line.append("▀", Style(color=colors[0], bgcolor=colors[1] if len(colors) == 2 else None))
        yield line


def _pixel(place: float) -> Rgb:
    return _NOT_FINITE if np.isnan(place) else viridis(place)


def _bar(color: bool) -> Text:
    """The shades from low to high."""
    if not color:
        return Text(f"[{RAMP}]")
    bar = Text()
    for place in np.linspace(0.0, 1.0, _BAR_CELLS):
        bar.append("█", Style(color=hexadecimal(viridis(float(place)))))
    return bar
