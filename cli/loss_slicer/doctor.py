"""`loss-slicer doctor`: why the tab, the page or the slices do not appear. Checks and says; changes nothing."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from loss_slicer.doctor_checks import Finding

JSON_SCHEMA = 1


def doctor(
    logdir: Annotated[
        Path | None,
        typer.Option(help="Also read the event files of this log, and check that TensorBoard can show its slices."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> int:
    """Check the installation, and a log: why is a tab, a page or a slice not there?

    Returns 0 where everything is fine, 1 where something is wrong. Warnings leave it at 0.
    """
    from loss_slicer.doctor_checks import check_installation

    findings = check_installation()
    summary: dict[str, dict[str, dict[str, Any]]] = {}
    if logdir is not None:
        from loss_slicer.doctor_log_checks import check_log, log_summary, read_log

        runs = read_log(logdir)
        findings += check_log(logdir, runs)
        summary = log_summary(runs)
    ok = all(finding.status != "problem" for finding in findings)
    if as_json:
        _print_json(ok, findings, logdir, summary)
    elif sys.stdout.isatty():
        _print_tables(findings, summary)
    else:
        _print_lines(findings, summary)
    return 0 if ok else 1


def _print_json(
    ok: bool, findings: list[Finding], logdir: Path | None, summary: dict[str, dict[str, dict[str, Any]]]
) -> None:
    document: dict[str, Any] = {
        "schema": JSON_SCHEMA,
        "ok": ok,
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "log": None if logdir is None else {"logdir": str(logdir), "runs": summary},
    }
    print(json.dumps(document, indent=2))


def _print_lines(findings: list[Finding], summary: dict[str, dict[str, dict[str, Any]]]) -> None:
    for finding in findings:
        print(_printable(f"{finding.status}: {finding.check}: {finding.message}"))
        if finding.advice:
            print(_printable(f"  {finding.advice}"))
    for run, tag, slice_type, slices, steps in _tag_rows(summary):
        print(f"log: {run} {tag} {slice_type} {slices} {steps}")


def _print_tables(findings: list[Finding], summary: dict[str, dict[str, dict[str, Any]]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    colors = {"ok": "green", "warning": "yellow", "problem": "bold red"}
    console = Console()
    table = Table("", "check", Column("what was found", overflow="fold"))
    for finding in findings:
        found = Text(_printable(finding.message))
        if finding.advice:
            found.append("\n" + _printable(finding.advice), style="italic")
        table.add_row(Text(finding.status, style=colors[finding.status]), Text(finding.check), found)
    console.print(table)
    if summary:
        table = Table("run", "tag", "type", "slices", "steps")
        for row in _tag_rows(summary):
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)


def _tag_rows(summary: dict[str, dict[str, dict[str, Any]]]) -> list[tuple[str, ...]]:
    return [
        (
            _printable(run),
            _printable(tag),
            str(contents["slice_type"] or "unreadable"),
            str(contents["slices"]),
            f"{contents['first_step']}…{contents['last_step']}",
        )
        for run, tags in summary.items()
        for tag, contents in tags.items()
    ]


def _printable(text: str) -> str:
    """Names come from files: what would move the cursor or change colors is written as an escape."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
