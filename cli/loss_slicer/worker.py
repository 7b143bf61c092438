"""`loss-slicer worker`: one shard of a job, for job arrays of a cluster that need no server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from loss_slicer.allocator import keep_freed_memory
from loss_slicer.options import given_values, with_config, with_job_options
from loss_slicer.run import ConfigFile, Quiet, Verbose
from loss_slicer.statuses import Status, reported, say
from slicer_core.collector import lasting_imports
from slicer_core.job.configuration import Job
from slicer_core.job.shards import Shard


@with_job_options
def worker(
    *,
    shard: Annotated[str, typer.Option("--shard", metavar="I/N", help="Which part of the job: 1/4, 2/4, 3/4 or 4/4.")],
    config: ConfigFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    **values: Any,
) -> None:
    """Evaluate one shard of a job into a store of its own. Takes the options of `run`; `merge` puts shards together.

    The same command goes on where it was stopped. Exit statuses are those of `run`.
    """
    with reported(verbose=verbose):
        chosen = Shard.parse(shard)
        job = Job.from_values(with_config(given_values(values), config))
        from loss_slicer.signals import stopping_on_signals

        with stopping_on_signals() as stop:
            keep_freed_memory()
            with lasting_imports():
                from loss_slicer.progress import choose_reporter
                from slicer_core.job import run_job

            with choose_reporter(job, stop, quiet=quiet, verbose=verbose) as reporter:
                result = run_job(job, None, reporter, shard=chosen)
        if not quiet:
            say(f"shard {chosen.index} of {chosen.count} is done; `loss-slicer merge` takes it in")
        if result.failures:
            raise typer.Exit(Status.SOME_FAILED)
