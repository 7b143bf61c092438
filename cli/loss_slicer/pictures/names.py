"""Names of parameters and layers beside their rows: short, and different ones never the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len

from loss_slicer.pictures.labels import name_text
from loss_slicer.plain_text import printable

_GAP = "..."
_ESCAPE_CELLS = 10
"""What a character takes at most, written as an escape."""


def distinct_names(names: Sequence[str], limit: int, *, color: bool) -> list[str]:
    """Each name in at most `limit` cells; of those that lose their middle, the parts that tell them apart stay.

    A name's parts are those between its dots. Names that no part tells apart in so few cells are numbered.
    """
    texts = {name: name_text(name, limit, color=color) for name in names}
    if len({*texts.values()}) == len(texts):
        return [texts[name] for name in names]
    whole = {name: tuple(name_text(part, _whole(part), color=color) for part in name.split(".")) for name in texts}
    texts = {name: _short(parts, _telling(parts, list(whole.values())), limit) for name, parts in whole.items()}
    times = Counter(texts.values())
    for number, (name, text) in enumerate(texts.items(), start=1):
        if times[text] > 1:
            texts[name] = _numbered(text, number, limit)
    return [texts[name] for name in names]


def _whole(part: str) -> int:
    return _ESCAPE_CELLS * len(part)


def _part(parts: Sequence[str], place: int) -> str | None:
    return parts[place] if place < len(parts) else None


def _telling(parts: Sequence[str], names: Sequence[Sequence[str]]) -> set[int]:
    """Few places that tell the name from all others: one after another that which tells it from most."""
    others = [other for other in names if other != parts]
    telling: set[int] = set()
    while others:
        alike = {place: [other for other in others if _part(other, place) == part] for place, part in enumerate(parts)}
        place = min(alike, key=lambda place: len(alike[place]))
        if len(alike[place]) == len(others):
            # The others go on where this one ends, and are told by that.
            break
        telling.add(place)
        others = alike[place]
    return telling


def _short(parts: Sequence[str], telling: set[int], limit: int) -> str:
    """The parts that tell, and as many more as there is room for: the last ones first, which say what it is."""
    if cell_len(".".join(parts)) <= limit:
        return ".".join(parts)
    kept = set(telling)
    for place in reversed(range(len(parts))):
        if cell_len(_joined(parts, kept | {place})) <= limit:
            kept.add(place)
    text = _joined(parts, kept)
    if cell_len(text) <= limit:
        return text
    return printable(_joined(_cut(parts, kept, limit - cell_len(_joined([""] * len(parts), kept))), kept), limit)


def _cut(parts: Sequence[str], kept: set[int], room: int) -> list[str]:
    """The parts, of which those kept have so many cells together: the long ones give way."""
    cut = list(parts)
    for done, place in enumerate(sorted(kept, key=lambda place: cell_len(parts[place]))):
        cut[place] = printable(parts[place], max(room, 0) // (len(kept) - done))
        room -= cell_len(cut[place])
    return cut


def _joined(parts: Sequence[str], kept: set[int]) -> str:
    text, is_gap = "", False
    for place, part in enumerate(parts):
        if place in kept:
            text += part if is_gap or not text else f".{part}"
        elif not is_gap:
            text += _GAP
        is_gap = place not in kept
    return text


def _numbered(text: str, number: int, limit: int) -> str:
    mark = f"#{number}"
    return printable(text, limit - len(mark)) + mark
