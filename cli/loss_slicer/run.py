"""`loss-slicer run`: one job, from options and a configuration file to slices in a log, shown as it goes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from loss_slicer.allocator import keep_freed_memory
from loss_slicer.options import given_values, with_config, with_job_options
from loss_slicer.statuses import Status, reported, stdout_kept_for_json, write_json
from slicer_core.collector import lasting_imports
from slicer_core.job import Job

_OUTPUT = "What it says"
JSON_SCHEMA = 1


ConfigFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE.toml", help="Options from a file; those given here win.", rich_help_panel=_OUTPUT),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout, all else on stderr.", rich_help_panel=_OUTPUT)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.", rich_help_panel=_OUTPUT)]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Engine, timings and tracebacks.", rich_help_panel=_OUTPUT)
]


@with_job_options
def run(
    *,
    config: ConfigFile = None,
    print_config: Annotated[
        bool,
        typer.Option("--print-config", help="Print the options as a file, and exit.", rich_help_panel=_OUTPUT),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what it would cost, and exit.", rich_help_panel=_OUTPUT)
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    **values: Any,
) -> None:
    """Slice the loss surface around checkpoints, and log the slices for TensorBoard.

    The same command goes on where it was stopped, and does nothing where all is done.

    Exit status: 0 done, 2 bad usage or input and nothing computed, 3 some checkpoints failed and the others are done,
    70 internal error, 75 stopped by SIGTERM, SIGUSR1 or the loss of a Ray cluster, 130 by Ctrl-C.
    """
    with reported(verbose=verbose):
        job = Job.from_values(with_config(given_values(values), config))
        if print_config:
            _print_config(job)
        elif dry_run:
            _dry_run(job, as_json=as_json, quiet=quiet, verbose=verbose)
        else:
            run_and_show(job, as_json=as_json, quiet=quiet, verbose=verbose)


def _print_config(job: Job) -> None:
    from slicer_core.job import with_module

    sys.stdout.write(with_module(job).to_toml())


def run_and_show(job: Job, *, as_json: bool, quiet: bool, verbose: bool, merging: bool = False) -> None:
    """Runs the job, or puts its shards together, logs its slices and shows them."""
    from loss_slicer.signals import stopping_on_signals

    with stopping_on_signals() as stop, stdout_kept_for_json(as_json):
        keep_freed_memory()
        # torch takes a second to import, so only here; an interrupt within its C++ code would abort the process.
        with stop.postponed(), lasting_imports():
            from loss_slicer.progress import choose_reporter
            from loss_slicer.summary import result_document, show_result
            from slicer_core.job import FinishedSlice, View, run_job
            from tensorboard_loss_slicer.job_log import JobLog

        with choose_reporter(job, stop, quiet=quiet, verbose=verbose) as reporter, JobLog() as log:

            def add(result: FinishedSlice, view: View) -> None:
                with stop.postponed():
                    log(result, view)

            result = run_job(job, add, reporter, merging=merging)
    if as_json:
        write_json(result_document(job, result))
    elif not quiet:
        show_result(job, result, verbose=verbose)
    if result.failures:
        raise typer.Exit(Status.SOME_FAILED)


def _dry_run(job: Job, *, as_json: bool, quiet: bool, verbose: bool) -> None:
    from loss_slicer.progress import choose_reporter
    from loss_slicer.signals import Stop
    from loss_slicer.summary import show_estimate
    from slicer_core.job import estimate

    with stdout_kept_for_json(as_json), choose_reporter(job, Stop(), quiet=quiet, verbose=verbose) as reporter:
        cost = estimate(job, reporter)
    if as_json:
        write_json({"schema": JSON_SCHEMA, "dry_run": cost.to_dict()})
    else:
        show_estimate(cost)
