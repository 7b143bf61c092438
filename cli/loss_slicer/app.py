"""The Typer app: one line a command."""

from __future__ import annotations

from typing import Annotated

import typer

from loss_slicer.check import check
from loss_slicer.compare import compare
from loss_slicer.demo import demo
from loss_slicer.doctor import doctor
from loss_slicer.export import export
from loss_slicer.init import init
from loss_slicer.inspect import inspect
from loss_slicer.merge import merge
from loss_slicer.methods import methods
from loss_slicer.plot import plot
from loss_slicer.rebuild import rebuild
from loss_slicer.run import run
from loss_slicer.status import status
from loss_slicer.statuses import exiting
from loss_slicer.view import view
from loss_slicer.worker import worker
from slicer_core.version import __version__

app = typer.Typer(
    name="loss-slicer",
    help="See the loss surface of a PyTorch network at every checkpoint you kept, in TensorBoard.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"loss-slicer {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


app.command()(run)
app.command()(init)
app.command()(inspect)
app.command()(methods)
app.command()(status)
app.command()(rebuild)
app.command()(worker)
app.command()(merge)
app.command()(view)
app.command()(demo)
app.command()(plot)
app.command()(export)
app.command()(check)
app.command()(compare)
app.command()(exiting(doctor))
