"""What `check` and `compare` share: their options for reports, the table, the files, and the exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loss_slicer.selection import file_stem, name_parts, write_new_file
from loss_slicer.statuses import Status, say, write_json
from slicer_core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from slicer_core.checks import CheckedSlice, Picture, Report, Row
    from tensorboard_loss_slicer.log_selection import LoggedSlice, UnreadableSlice

_PANEL = "Reports"

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=_PANEL)]
JUnit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.", rich_help_panel=_PANEL)]
Markdown = Annotated[
    Path | None,
    typer.Option("--markdown", metavar="FILE", help="Write a summary with pictures.", rich_help_panel=_PANEL),
]
NoPictures = Annotated[bool, typer.Option("--no-pictures", help="A summary without pictures.", rich_help_panel=_PANEL)]
AllowProvisional = Annotated[
    bool, typer.Option("--allow-provisional", help="Slices that are not whole yet don't fail for that.")
]

_WORDS = {"passed": "passed", "failed": "FAILED", "absent": "ABSENT"}
_STYLES = {"passed": "green", "failed": "bold red", "absent": "bold yellow"}


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """Where a report goes besides the terminal."""

    as_json: bool
    junit: Path | None
    markdown: Path | None
    pictures: bool


def shown_names(chosen: LoggedSlice | UnreadableSlice, logdir: Path) -> tuple[str, str, str]:
    """Run, tag and step. A log directory that is a run's own has the folder's name."""
    run, tag, step = name_parts(chosen)
    return (logdir.resolve().name if run in (".", "loss_slicer") else run), tag, step


def checked_slice(each: LoggedSlice | UnreadableSlice, logdir: Path, rows: Sequence[Row]) -> CheckedSlice:
    """The rows about a slice, by its names in the log."""
    from slicer_core.checks import CheckedSlice

    run, tag, step = shown_names(each, logdir)
    return CheckedSlice(run=run, tag=tag, step=step, rows=tuple(rows))


def unreadable_row(each: UnreadableSlice) -> Row:
    """In place of what would be checked of a slice."""
    from slicer_core.checks import Row

    return Row(quantity="slice", outcome="absent", expected="readable", reason=str(each.error))


def finish(report: Report, drawn: Sequence[Sequence[LoggedSlice]], files: ReportFiles) -> Status:
    """Writes the files, shows the table or the document, and gives the status.

    `drawn`: for each of the report's slices those that are in its picture, the last one in characters; may be none.

    Raises:
        UsageError: a file can't be written.
    """
    from slicer_core.checks import encode_junit, encode_markdown, report_document

    if files.markdown is not None:
        pictures, notes = _pictures(drawn, files.markdown.parent, report.command) if files.pictures else ([], [])
        report = replace(report, notes=(*report.notes, *notes))
        write_new_file(files.markdown, encode_markdown(report, pictures))
    if files.junit is not None:
        write_new_file(files.junit, encode_junit(report))
    if files.as_json:
        write_json(report_document(report))
    else:
        show_report(report)
    if report.outcome == "absent":
        say(f"error: {report.count('absent')} of the quantities could not be checked; --tag and --run choose slices")
    return {"passed": Status.DONE, "failed": Status.THRESHOLD, "absent": Status.USAGE}[report.outcome]


def show_report(report: Report) -> None:
    """A table for each slice on stdout, and a sentence."""
    from rich.console import Console
    from rich.text import Text

    from loss_slicer.plain_text import printable

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    for checked in report.slices:
        title = ", ".join(printable(part, limit=40) for part in (checked.run, checked.tag, checked.step))
        console.print(Text(title, style="bold"))
        _show_rows(console, checked, report.command == "compare")
        console.print()
    for note in report.notes:
        console.print(Text(printable(note, limit=400)))
    console.print(Text(report.summary, style=_STYLES[report.outcome]))


def _show_rows(console: Console, checked: CheckedSlice, compares: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    columns = ("", "quantity", *(("baseline", "new") if compares else ("found",)), "expected", "")
    rows = [_cells(row, compares) for row in checked.rows]
    if console.is_terminal:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row, cells in zip(checked.rows, rows, strict=True):
            table.add_row(Text(cells[0], style=_STYLES[row.outcome]), *map(Text, cells[1:]))
        console.print(table)
        return
    widths = [max(len(line[index]) for line in (columns, *rows)) for index in range(len(columns))]
    for line in (columns, *rows):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        console.print(Text(f"  {'  '.join(cells)}".rstrip()))


def _cells(row: Row, compares: bool) -> tuple[str, ...]:
    from loss_slicer.plain_text import printable

    change = row.change if row.change not in (None, "same") else ""
    return (
        _WORDS[row.outcome],
        printable(row.quantity, limit=40),
        *((str(row.baseline or "-"),) if compares else ()),
        str(row.found or "-"),
        row.expected,
        printable(row.reason or change or "", limit=300),
    )


def _pictures(
    drawn: Sequence[Sequence[LoggedSlice]], folder: Path, prefix: str
) -> tuple[list[Picture | None], list[str]]:
    """The pictures, whose PNGs are written into the folder, and why there are no PNGs, said once."""
    from loss_slicer.pictures import picture
    from slicer_core.checks import Picture

    pictures: list[Picture | None] = []
    notes: dict[str, None] = {}
    for group in drawn:
        if not group:
            pictures.append(None)
            continue
        address = f"{prefix}-{file_stem(group[-1])}.png"
        try:
            content = _png(group)
        except UsageError as error:
            notes[f"No PNG: {error}"] = None
            address = None
        else:
            write_new_file(folder / address, content)
        pictures.append(Picture(text=picture(group[-1].data, color=False).plain, address=address))
    return pictures, list(notes)


def _png(group: Sequence[LoggedSlice]) -> bytes:
    from slicer_core.figures import FigureStyle, Labeled, default_view, draw, save

    overlaid = group if default_view(group[-1].data.geometry).overlays else group[-1:]
    labels = ("baseline", "new") if len(overlaid) == 2 else (", ".join(name_parts(group[-1])),)
    entries = [Labeled(label=label, data=each.data) for label, each in zip(labels, overlaid, strict=True)]
    title = ", ".join(name_parts(group[-1])) if len(overlaid) == 2 else None
    style = FigureStyle(dots_per_inch=120.0, title=title)
    return save(draw(entries, style=style), "png", style)
