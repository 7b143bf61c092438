"""A report as GitHub's Markdown, for a job's summary or a comment."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from slicer_core.checks.report import CheckedSlice, Report, Row
from slicer_core.checks.texts import visible

_MARKS = {"passed": "✅ passed", "failed": "❌ **failed**", "absent": "⚠️ **absent**"}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Of one slice: characters, which any summary shows, and a PNG's address, where there is one."""

    text: str
    address: str | None = None


def encode_markdown(report: Report, pictures: Sequence[Picture | None] = ()) -> bytes:
    """UTF-8: a table of all rows, and below it a picture of each slice that has one, in the order of the slices."""
    lines = [
        f"### loss-slicer {report.command}: {_MARKS[report.outcome]}",
        "",
        f"{_code(report.title)}: {report.summary}",
        "",
        *_table(report),
        *(f"\n{_text(note)}" for note in report.notes),
    ]
    for checked, picture in zip(report.slices, pictures, strict=False):
        if picture is not None:
            lines += _picture(checked, picture)
    return ("\n".join(lines) + "\n").encode("utf-8")


def _table(report: Report) -> list[str]:
    compares = report.command == "compare"
    columns = ("", "slice", "quantity", *(("baseline", "new") if compares else ("found",)), "expected", "")
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for checked in report.slices:
        lines += [f"| {' | '.join(_cells(checked, row, compares))} |" for row in checked.rows]
    return lines


def _cells(checked: CheckedSlice, row: Row, compares: bool) -> list[str]:
    return [
        _MARKS[row.outcome],
        _code(_name(checked)),
        _code(row.quantity),
        *([_text(str(row.baseline or "–"))] if compares else []),
        _text(str(row.found or "–")),
        _text(row.expected),
        _text(row.reason or (row.change if row.change not in (None, "same") else "") or ""),
    ]


def _picture(checked: CheckedSlice, picture: Picture) -> list[str]:
    lines = ["", f"#### {_code(_name(checked))}", ""]
    if picture.address is not None:
        lines += [f"![{_text(_name(checked))}]({picture.address})", ""]
    drawn = "\n".join(html.escape(visible(line)) for line in picture.text.splitlines())
    return [*lines, f"<pre>\n{drawn}\n</pre>"]


def _name(checked: CheckedSlice) -> str:
    return f"{checked.run}, {checked.tag}, {checked.step}"


def _code(text: str) -> str:
    """In a code element nothing is a mention or a link."""
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    """Every ASCII sign as a reference, which Markdown never takes for structure; these few are none within a line."""
    return "".join(
        f"&#{ord(each)};" if each.isascii() and not each.isalnum() and each not in " ,=+%" else each
        for each in visible(text)
    )
