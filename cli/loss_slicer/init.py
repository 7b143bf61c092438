"""`loss-slicer init`: a commented `subject.py` to start from, for the kind of checkpoint that is there."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loss_slicer.statuses import reported
from loss_slicer.subject_templates import TEMPLATES, subject_source
from slicer_core.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from slicer_core.checkpoints import Checkpoint

FILE = "subject.py"


def init(
    checkpoints: Annotated[
        str | None, typer.Option(metavar="PATH", help="Checkpoints whose kind decides what is written.")
    ] = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="Where it is written.")] = Path(FILE),
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks.")] = False,
) -> None:
    """Write a commented subject.py that builds the model, its loss and its data, with lines to fill in.

    A file that is there is never overwritten. Nothing of the checkpoints runs.
    """
    with reported(verbose=verbose):
        kind, folder = ("plain", "") if checkpoints is None else _kind(checkpoints)
        source = subject_source(kind, path=checkpoints or "PATH", folder=folder)
        try:
            with output.open("x", encoding="utf-8") as file:
                try:
                    file.write(source)
                    file.flush()
                except OSError:
                    # Half of it would be kept as the user's own by the next start.
                    output.unlink()
                    raise
        except FileExistsError as error:
            raise UsageError(f"{output} is there already, and is not overwritten: give another --output") from error
        except OSError as error:
            raise UsageError(f"--output {output} can't be written: {error}") from error
        marked = [number for number, line in enumerate(source.split("\n"), start=1) if "FILL IN" in line]
        print(f"wrote {output} for {TEMPLATES[kind][0]}. Fill in lines {', '.join(map(str, marked))}; then")
        print(f"    loss-slicer inspect {checkpoints or 'PATH'} --module {output}")
        print(f"    loss-slicer run --checkpoints {checkpoints or 'PATH'} --module {output}")


def _kind(given: str) -> tuple[str, str]:
    """The kind of checkpoint, and the folder where its configuration lies."""
    from slicer_core.checkpoints import find_sources

    try:
        checkpoint = find_sources([given])[0].checkpoints[0]
    except CheckpointError:
        path = Path(os.path.expanduser(given))
        if not path.exists():
            raise
        # Several sets of weights, or steps that are unknown, are no reason not to begin.
        names = sorted(path.iterdir()) if path.is_dir() else [path]
        return next((kind for name in names if (kind := _kind_of_name(name))), "plain"), str(path)
    return _kind_of(checkpoint), str(checkpoint.data if checkpoint.data.is_dir() else checkpoint.data.parent)


def _kind_of(checkpoint: Checkpoint) -> str:
    if checkpoint.adapter is not None:
        return "peft"
    if (checkpoint.data.parent / "config.json").is_file():
        return "trainer"
    by_name = _kind_of_name(checkpoint.data)
    if by_name:
        return by_name
    names = checkpoint.contents().tensors
    return (
        "nanogpt" if any(re.search(r"transformer\.h\.\d+\.attn\.c_attn\.weight$", name) for name in names) else "plain"
    )


def _kind_of_name(path: Path) -> str | None:
    """What a trainer's own way to name its files tells."""
    if path.name.endswith(".ckpt"):
        return "lightning"
    if path.name.endswith(".pth.tar"):
        return "timm"
    return "torchvision" if re.fullmatch(r"(model_\d+|checkpoint)\.pth", path.name) else None
