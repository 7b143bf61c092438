"""`loss-slicer status`: what a log's stores hold, and who is at work on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loss_slicer.plain_text import printable
from loss_slicer.statuses import Status, reported, write_json

if TYPE_CHECKING:
    from slicer_core.job import StoreStatus

JSON_SCHEMA = 1


def status(
    logdir: Annotated[Path, typer.Argument(help="The log directory.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show what is done of the jobs in a log, and which run is at work; a run is not disturbed.

    Exit status: 0, or 3 where a store is damaged or can't be read.
    """
    with reported():
        from slicer_core.job import log_status

        stores = log_status(logdir)
        if as_json:
            write_json({"schema": JSON_SCHEMA, "stores": [store.to_dict() for store in stores]})
        else:
            for store in stores:
                _show(store)
        if any(store.fault for store in stores):
            raise typer.Exit(Status.SOME_FAILED)


def _show(store: StoreStatus) -> None:
    typer.echo(f"{printable(store.path, limit=1000)}  {store.num_bytes / 2**20:.1f} MiB")
    if store.fault is not None:
        typer.echo(f"  fault: {printable(store.fault, limit=1000)}")
    typer.echo(f"  {'at work: ' + printable(store.holder, limit=400) if store.holder else 'nobody is at work on it'}")
    for job in store.jobs:
        count = len(job.steps_done)
        done = f"{count} slice{'' if count == 1 else 's'} ({_steps(job.steps_done)})" if count else "no slice yet"
        if job.replaced and not count:
            done = f"slices of another run are in place of its own ({_steps(job.replaced)})"
        typer.echo(f"  {printable(job.tag)}: {done}")
        for step, share in job.partly.items():
            typer.echo(f"    step {step}: {100 * share:.0f}% of the points")


def _steps(steps: tuple[int, ...]) -> str:
    few = map(str, steps) if len(steps) <= 6 else (*map(str, steps[:3]), "…", str(steps[-1]))
    return f"step{'' if len(steps) == 1 else 's'} {', '.join(few)}"
