"""`loss-slicer demo`: a real training on the digits that logs slices; it is there wherever the package is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loss_slicer.statuses import reported
from slicer_core.errors import UsageError, suggestion


def demo(
    name: Annotated[str | None, typer.Argument(help="Which one; without it they are listed.")] = None,
    logdir: Annotated[Path, typer.Option(metavar="DIR", help="The TensorBoard log directory.")] = Path("demo_logs"),
    epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Epochs of each training (default: the demo's own).")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the initialization and the batches.")] = 0,
) -> None:
    """Train small networks on handwritten digits, and log slices of their loss surface: under a minute each."""
    from tensorboard_loss_slicer.demos import DEMOS

    with reported():
        if name is None:
            for known, row in DEMOS.items():
                typer.echo(f"{known:<22} {row.summary}")
            return
        if name not in DEMOS:
            raise UsageError(f"there is no demo {name!r}{suggestion(name, DEMOS)}: {', '.join(DEMOS)}")
        # torch takes a second to import, so only here.
        import importlib

        number = [] if epochs is None else ["--epochs", str(epochs)]
        importlib.import_module(DEMOS[name].module).main(["--logdir", str(logdir), "--seed", str(seed), *number])
