"""Text from checkpoints, logs and other files that anyone may have written, made safe to show on a terminal.

Rich's markup is left alone: put the result into a `rich.text.Text`, never into a markup string.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len

_ELLIPSIS = "..."
# A letter may carry two accents; a pile of them is drawn over the lines above and below.
_MAX_MARKS = 2


def printable(text: str, limit: int = 60) -> str:
    r"""`text` on one line, at most `limit` terminal cells wide, with every character that is not seen escaped.

    Control characters, ANSI escapes, line breaks, bidirectional overrides, zero-width and unassigned characters
    appear as `\x1b`, `\u202e` and so on. What is too long loses its middle, since both ends of a parameter's name or
    of a path tell it apart.
    """
    # Each character counts for a cell at least, so that only these can be part of the answer, however long the text.
    if len(text) <= limit:
        units = _units(text)
        if sum(map(_cells, units)) <= limit:
            return "".join(units)
    room = limit - len(_ELLIPSIS)
    if room < 2:
        return "".join(_fitting(_units(text[: max(limit, 0)]), limit))
    head = _fitting(_units(text[:room]), room - room // 2)
    tail = _fitting(_units(text[-room:])[::-1], room // 2)
    return "".join((*head, _ELLIPSIS, *reversed(tail)))


def _units(text: str) -> list[str]:
    """One entry a character: itself or its escape."""
    units: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        shown = character.isprintable() and marks <= _MAX_MARKS
        units.append(character if shown else character.encode("unicode_escape").decode("ascii"))
    return units


def _fitting(units: Sequence[str], room: int) -> list[str]:
    """The leading units that fit, so that no escape is cut in two."""
    kept: list[str] = []
    for unit in units:
        room -= _cells(unit)
        if room < 0:
            break
        kept.append(unit)
    return kept


def _cells(unit: str) -> int:
    return max(cell_len(unit), 1)
