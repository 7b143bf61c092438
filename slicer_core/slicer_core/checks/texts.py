"""Names from logs made safe for reports: they may be anyone's."""

from __future__ import annotations

_LONGEST = 200


def visible(text: str) -> str:
    r"""`text` on one line, with every character that is not seen as an escape such as `\x1b`, and cut when it is long.

    What is left is allowed in XML 1.0, which forbids control characters even when escaped.
    """
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in shown)
