"""`loss-slicer view`: a stock TensorBoard on a log."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from loss_slicer.statuses import reported
from slicer_core.errors import UsageError


def view(
    logdir: Annotated[Path, typer.Argument(help="The log directory.")] = Path("runs"),
    port: Annotated[int | None, typer.Option(help="Port; TensorBoard takes 6006 or the next free one.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (TensorBoard's default: localhost).")] = None,
) -> None:
    """Start TensorBoard on the log, in this terminal; Ctrl-C ends it."""
    with reported():
        if not logdir.is_dir():
            raise UsageError(f"there is no log directory {logdir}: `loss-slicer run --logdir {logdir} …` makes one")
        # -P: files of the current folder that are called like modules of Python are not taken for those.
        command = [sys.executable, "-P", "-m", "tensorboard.main", "--logdir", str(logdir)]
        command += ["--port", str(port)] if port is not None else []
        command += ["--host", host] if host is not None else []
        sys.stdout.flush()
        os.execv(sys.executable, command)
