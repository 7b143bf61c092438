"""`loss-slicer check`: slices of a log against thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    unreadable_row,
)
from loss_slicer.selection import LogDir, Runs, Steps, Tags, choose
from loss_slicer.statuses import reported
from slicer_core.errors import UsageError

_RULES = "What has to hold"


def check(
    logdir: LogDir = Path("runs"),
    run: Runs = None,
    tag: Tags = None,
    step: Steps = "last",
    max_loss_increase: Annotated[
        float | None,
        typer.Option(help="Highest loss of the slice minus that of its center.", rich_help_panel=_RULES),
    ] = None,
    max_barrier: Annotated[
        float | None, typer.Option(help="The barrier between two checkpoints (linear).", rich_help_panel=_RULES)
    ] = None,
    max_sharpness: Annotated[
        float | None,
        typer.Option(help="The measure of that name, of run --measures sharpness.", rich_help_panel=_RULES),
    ] = None,
    no_nonfinite: Annotated[
        bool, typer.Option("--no-nonfinite", help="Every loss is finite.", rich_help_panel=_RULES)
    ] = False,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME OP NUMBER'",
            help="A measure or any number of the header; may be given several times.",
            rich_help_panel=_RULES,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="A file with rules = ['NAME OP NUMBER', …], which hold besides the others.",
            rich_help_panel=_RULES,
        ),
    ] = None,
    allow_provisional: AllowProvisional = False,
    as_json: AsJson = False,
    junit: JUnit = None,
    markdown: Markdown = None,
    no_pictures: NoPictures = False,
) -> None:
    """Check slices of a log against thresholds, each slice against each.

    Exit status: 0 all hold, 1 one does not, 2 a slice lacks the quantity or can't be read, or bad usage.
    """
    with reported():
        from slicer_core.checks import Report, Rule, check_slice, parse_rule, read_rules
        from tensorboard_loss_slicer.log_pairing import without_previews

        limits = {"loss_increase": max_loss_increase, "barrier": max_barrier, "sharpness": max_sharpness}
        rules = [Rule(name=name, operator="<=", bound=bound) for name, bound in limits.items() if bound is not None]
        rules += [Rule(name="nonfinite", operator="==", bound=0)] if no_nonfinite else []
        rules += map(parse_rule, rule or ())
        rules += read_rules(config) if config is not None else []
        if not rules:
            raise UsageError(
                "there is nothing to check: give --max-loss-increase, --max-barrier, --max-sharpness, --no-nonfinite, "
                "--rule or --config"
            )
        found, unreadable = choose(logdir, run, tag, step)
        chosen = without_previews(found)
        checked = [
            checked_slice(each, logdir, check_slice(each.data, rules, allow_provisional=allow_provisional))
            for each in chosen
        ]
        checked += [checked_slice(each, logdir, [unreadable_row(each)]) for each in unreadable]
        report = Report(command="check", title=str(logdir), slices=tuple(checked))
        files = ReportFiles(as_json=as_json, junit=junit, markdown=markdown, pictures=not no_pictures)
        raise typer.Exit(finish(report, [[each] for each in chosen], files))
