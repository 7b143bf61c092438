"""The words and numbers around a picture: short numbers, labels below an axis, the legend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from loss_slicer.pictures.scale import Scale
from loss_slicer.plain_text import printable
from slicer_core.slices import Slice

_DIGITS = 4
_MAX_DIGITS = 9
_NAME_CELLS = 24


def number_text(value: float, digits: int = _DIGITS) -> str:
    """The value with so many significant digits: `0.01235`, `1.235e12`."""
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def end_texts(low: float, high: float, max_digits: int = _MAX_DIGITS) -> tuple[str, str]:
    """Both ends of a range, with as many digits as it takes to tell them apart, up to a limit."""
    for digits in range(_DIGITS, max_digits):
        texts = number_text(low, digits), number_text(high, digits)
        if low == high or texts[0] != texts[1]:
            return texts
    return number_text(low, max_digits), number_text(high, max_digits)


def name_text(name: str, limit: int, *, color: bool) -> str:
    """A name from a file, safe to show; without color in ASCII only."""
    return printable(name if color else name.encode("ascii", "backslashreplace").decode("ascii"), limit)


def axis_labels(num_cells: int, low: float, high: float, inner: Iterable[tuple[int, float]]) -> str:
    """A line of `num_cells` with both ends of an axis, and the inner (cell, value) that have room between them."""
    first, last = end_texts(low, high)
    if low == high:
        return first.center(num_cells).rstrip()
    if len(first) + len(last) >= num_cells:
        return f"{first} {last}"
    line = list(first.ljust(num_cells - len(last)) + last)
    for cell, value in inner:
        text = number_text(value)
        start = cell - len(text) // 2
        before, after = max(start - 1, 0), start + len(text) + 1
        if start > 0 and after <= num_cells and not "".join(line[before:after]).strip():
            line[start : start + len(text)] = text
    return "".join(line)


def legend(data: Slice, scale: Scale | None, *, width: int, color: bool, bar: Text | None, unit: str) -> Text:
    """What is drawn, in numbers: least and greatest value, the center's, the scale, and what the picture leaves out.

    `bar` goes between the least and the greatest; `unit` is what the values that are not finite are counted in.
    """
    pieces = array_name(data, color=color)
    if scale is None:
        pieces.append(Text("no finite value"))
    elif scale.minimum == scale.maximum:
        pieces.append(Text(f"constant {number_text(scale.minimum)}"))
    else:
        least, greatest = end_texts(scale.minimum, scale.maximum)
        pieces += [Text(f"min {least}"), *([bar] if bar else []), Text(f"max {greatest}")]
    pieces += center_loss(data)
    if scale is not None and scale.log:
        pieces.append(Text("log scale"))
    if scale is not None and scale.clips:
        pieces.append(Text("clipped at " + " and ".join(map(number_text, scale.clips))))
    return wrapped(pieces + gaps(data, unit), width)


def array_name(data: Slice, *, color: bool) -> list[Text]:
    """Which array is drawn: its name and split."""
    array = data.arrays[0]
    return [Text(name_text(f"{array.name} ({array.split})", _NAME_CELLS, color=color))]


def center_loss(data: Slice) -> list[Text]:
    """The user's own loss at the center, nothing where it is unknown or the array drawn is not the loss."""
    array = data.arrays[0]
    center = None if data.center is None or array.name != "loss" else data.center.loss.get(array.split)
    return [] if center is None else [Text(f"center {number_text(center)}")]


def gaps(data: Slice, unit: str) -> list[Text]:
    """What is missing: the number of values that are not finite, and how much of a provisional slice is there."""
    values = data.arrays[0].values
    missing = int(values.size - np.isfinite(values).sum())
    pieces = [Text(f"{missing} {unit}{'' if missing == 1 else 's'} not finite")] if missing else []
    return pieces + ([Text(f"{data.filled:.0%} filled")] if data.status == "provisional" else [])


def lines_text(lines: Sequence[Text]) -> Text:
    """The lines as one text, which keeps them apart where the terminal is too narrow for them."""
    joined = Text(no_wrap=True, overflow="crop")
    for number, line in enumerate(lines):
        joined.append("\n" if number else "")
        joined.append_text(line)
    return joined


def wrapped(pieces: Sequence[Text], width: int) -> Text:
    """The pieces side by side, on as many lines of at most `width` cells as they need."""
    text = Text()
    used = 0
    for piece in pieces:
        size = cell_len(piece.plain)
        if used and used + 2 + size > width:
            text.append("\n")
            used = 0
        if used:
            text.append("  ")
            used += 2
        text.append_text(piece)
        used += size
    return text
