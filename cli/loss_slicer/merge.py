"""`loss-slicer merge`: the shards of a job together, as slices in the log."""

from __future__ import annotations

from typing import Any

from loss_slicer.options import given_values, with_config, with_job_options
from loss_slicer.run import AsJson, ConfigFile, Quiet, Verbose, run_and_show
from loss_slicer.statuses import reported
from slicer_core.job.configuration import Job


@with_job_options
def merge(
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    **values: Any,
) -> None:
    """Take in what `worker` has left of a job, and log the slices that are complete. Takes the options of `run`.

    May be run at any time and again: shards that come late, or twice, are taken in then. Points are not evaluated.
    A shard that is damaged or does not fit is named, and what is sound of the others taken in.

    Exit status: 0 where all slices are there, 3 where some are, else as `run`.
    """
    with reported(verbose=verbose):
        job = Job.from_values(with_config(given_values(values), config))
        run_and_show(job, as_json=as_json, quiet=quiet, verbose=verbose, merging=True)
