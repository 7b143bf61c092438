"""`loss-slicer compare`: slices of a log against those of an earlier one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loss_slicer.reports import (
    AllowProvisional,
    AsJson,
    JUnit,
    Markdown,
    NoPictures,
    ReportFiles,
    checked_slice,
    finish,
    shown_names,
    unreadable_row,
)
from loss_slicer.selection import Runs, Steps, Tags
from loss_slicer.statuses import reported

if TYPE_CHECKING:
    from slicer_core.checks import CheckedSlice, Row
    from tensorboard_loss_slicer.log_selection import LoggedSlice, UnreadableSlice

_COUNTS = "What counts"


def compare(
    baseline: Annotated[Path, typer.Argument(help="The log, or a run's folder in one, to compare with.")],
    new: Annotated[Path, typer.Argument(help="The log, or a run's folder in one, that is judged.")],
    run: Runs = None,
    tag: Tags = None,
    step: Steps = "last",
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="10%|0.05|NAME=…",
            help="Allowed difference; may be given several times (default 10%).",
            rich_help_panel=_COUNTS,
        ),
    ] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only these, as in barrier or 'center.*'.", rich_help_panel=_COUNTS),
    ] = None,
    any_change: Annotated[
        bool, typer.Option("--any-change", help="What is better or only different fails too.", rich_help_panel=_COUNTS)
    ] = False,
    allow_provisional: AllowProvisional = False,
    as_json: AsJson = False,
    junit: JUnit = None,
    markdown: Markdown = None,
    no_pictures: NoPictures = False,
) -> None:
    """Compare measures and center losses of two logs; what became worse, beyond tolerance and errors, fails.

    Slices with the same run and tag go together; where each log has one run, whatever its name. What can't be read is
    told, and the rest compared.

    Exit status: 0 nothing became worse, 1 something did, 2 something is absent or can't be read or compared, or bad
    usage.
    """
    with reported():
        from slicer_core.checks import Report, Row, check_whole, compare_slices, parse_tolerance
        from tensorboard_loss_slicer.log_pairing import pair_slices
        from tensorboard_loss_slicer.log_selection import LoggedSlice, UnreadableSlice, check_choices

        tolerances = [parse_tolerance(text) for text in tolerance or ()]
        before, now = (_slices(log, run, tag, step) for log in (baseline, new))
        # What only one of the logs has is told below.
        check_choices([*before, *now], runs=run or (), tags=tag or (), steps=step)
        pairs = pair_slices(before, now, by_step=step not in ("first", "last"))
        checked: list[CheckedSlice] = []
        drawn: list[list[LoggedSlice]] = []
        for old, each in pairs.matched:
            rows = [unreadable_row(side) for side in (old, each) if isinstance(side, UnreadableSlice)]
            drawn.append([side for side in (old, each) if isinstance(side, LoggedSlice)])
            if isinstance(old, LoggedSlice) and isinstance(each, LoggedSlice):
                rows = [
                    *check_whole(each.data, allow_provisional=allow_provisional),
                    *compare_slices(old.data, each.data, tolerances, quantities=quantity or (), strict=any_change),
                ]
            if not rows:
                rows = [_absent(Row, "the baseline has no such quantity")]
            checked.append(checked_slice(each, new, rows))
        for each in pairs.missing:
            row = unreadable_row(each) if isinstance(each, UnreadableSlice) else _absent(Row, "not in the new log")
            checked.append(checked_slice(each, baseline, [row]))
        notes: list[str] = []
        for each in pairs.added:
            if isinstance(each, UnreadableSlice):
                checked.append(checked_slice(each, new, [unreadable_row(each)]))
            else:
                notes.append(f"Not in the baseline: {', '.join(shown_names(each, new))}")
        report = Report(command="compare", title=f"{baseline} → {new}", slices=tuple(checked), notes=tuple(notes))
        files = ReportFiles(as_json=as_json, junit=junit, markdown=markdown, pictures=not no_pictures)
        raise typer.Exit(finish(report, drawn, files))


def _slices(logdir: Path, runs: Runs, tags: Tags, steps: str) -> list[LoggedSlice | UnreadableSlice]:
    """Those chosen of a log, the ones that can't be read behind the others."""
    from tensorboard_loss_slicer.log_pairing import without_previews
    from tensorboard_loss_slicer.log_selection import select_slices

    unreadable: list[UnreadableSlice] = []
    found = select_slices(logdir, runs=runs or (), tags=tags or (), steps=steps, unreadable=unreadable.append)
    return [*without_previews(found), *unreadable]


def _absent(row: type[Row], reason: str) -> Row:
    return row(quantity="slice", outcome="absent", expected="in both", reason=reason)
