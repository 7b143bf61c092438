"""What `plot` and others share: the options that choose slices of a log, and names of files made from them."""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slicer_core.errors import UsageError

if TYPE_CHECKING:
    from tensorboard_loss_slicer.log_selection import LoggedSlice

_PANEL = "Which slices"

LogDir = Annotated[Path, typer.Argument(help="The log directory.")]
Runs = Annotated[
    list[str] | None,
    typer.Option("--run", metavar="GLOB", help="Runs; may be given several times.", rich_help_panel=_PANEL),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="GLOB", help="Tags; may be given several times.", rich_help_panel=_PANEL),
]
Steps = Annotated[str, typer.Option("--step", help="all, first, last, or steps as in 0,500.", rich_help_panel=_PANEL)]

_LONGEST_SLUG = 60


def file_stem(chosen: LoggedSlice, *, with_step: bool = True) -> str:
    """A file's name for a slice: letters, digits and dashes of run, tag and step, and a hash to tell alike ones apart.

    Never the names themselves: those of a log are anyone's, and may hold slashes or dots.
    """
    run = chosen.run.removesuffix("/loss_slicer")
    slug = re.sub(r"[^A-Za-z0-9]+", "-", f"{run}-{chosen.tag}").strip("-").lower()[:_LONGEST_SLUG].strip("-")
    digest = hashlib.blake2b(f"{chosen.run}\0{chosen.tag}".encode("utf-8", "surrogatepass"), digest_size=3).hexdigest()
    return f"{slug or 'slice'}{f'-step-{chosen.step}' if with_step else ''}-{digest}"


def name_parts(chosen: LoggedSlice) -> tuple[str, str, str]:
    """`("sgd", "random2d", "step 500")`."""
    unit = (chosen.data.checkpoint or {}).get("step_unit", "step")
    return chosen.run.removesuffix("/loss_slicer"), chosen.tag, f"{unit} {chosen.step}"


def write_new_file(path: Path, content: bytes) -> None:
    """Writes a file whole: under another name first, so that a stop leaves no half of one.

    Raises:
        UsageError: it can't be written.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise UsageError(f"{path} can't be written: {error.strerror or error}") from error
