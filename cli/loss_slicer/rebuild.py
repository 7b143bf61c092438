"""`loss-slicer rebuild`: event files made again from the stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loss_slicer.plain_text import printable
from loss_slicer.statuses import Status, reported, say
from slicer_core.errors import SlicerError, UsageError


def rebuild(logdir: Annotated[Path, typer.Argument(help="The log directory.")] = Path("runs")) -> None:
    """Make the event files of a log again from its stores, where they are not whole already.

    Exit status: 0, or 3 where it could not be done for some run directories.
    """
    with reported():
        from slicer_core.job import run_dirs, stored_slices
        from slicer_core.store import FILE_NAME, Store
        from tensorboard_loss_slicer.job_log import publish_slices

        found = [run_dir for run_dir in run_dirs(logdir) if (run_dir / FILE_NAME).exists()] if logdir.is_dir() else []
        if not found:
            raise UsageError(f"{logdir} has no results of `loss-slicer run`: give the --logdir of a run")
        failed = False
        for run_dir in found:
            try:
                with Store(run_dir / FILE_NAME) as store:
                    changed = publish_slices(run_dir, stored_slices(store, run_dir, run_dir.parent.name))
            except SlicerError as error:
                failed = True
                say(f"failed: {error}")
            else:
                typer.echo(f"{printable(str(run_dir), limit=1000)}: {'made again' if changed else 'was whole'}")
        if failed:
            raise typer.Exit(Status.SOME_FAILED)
