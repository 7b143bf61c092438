"""What `plot` and others share: the options that choose slices of a log, and names of files made from them."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slicer_core.errors import UsageError

if TYPE_CHECKING:
    from tensorboard_loss_slicer.log_selection import LoggedSlice, UnreadableSlice

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


def choose(logdir: Path, runs: Runs, tags: Tags, steps: str) -> tuple[list[LoggedSlice], list[UnreadableSlice]]:
    """The chosen slices, and those of the chosen ones that can't be read.

    Raises:
        FormatError: an event file is damaged.
        UsageError: there is no such slice, or a choice is of none.
    """
    from tensorboard_loss_slicer.log_selection import check_choices, select_slices

    unreadable: list[UnreadableSlice] = []
    chosen = select_slices(logdir, runs=runs or (), tags=tags or (), steps=steps, unreadable=unreadable.append)
    check_choices([*chosen, *unreadable], runs=runs or (), tags=tags or (), steps=steps)
    return chosen, unreadable


def file_stem(chosen: LoggedSlice, *, with_step: bool = True) -> str:
    """A file's name for a slice: letters, digits and dashes of run, tag and step, and a hash to tell alike ones apart.

    Never the names themselves: those of a log are anyone's, and may hold slashes or dots.
    """
    run = chosen.run.removesuffix("/loss_slicer")
    step = f"-step-{chosen.step}" if with_step else ""
    return f"{_slug(f'{run}-{chosen.tag}')}{step}-{_digest(chosen.run, chosen.tag)}"


def report_stem(logdir: Path, chosen: Sequence[LoggedSlice]) -> str:
    """The same for a file with all of the slices, whose hash is that of their runs, tags and steps."""
    names = [name for each in chosen for name in (each.run, each.tag, str(each.step))]
    return f"{_slug(logdir.resolve().name)}-{_digest(*names)}"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:_LONGEST_SLUG].strip("-") or "slice"


def _digest(*names: str) -> str:
    return hashlib.blake2b("\0".join(names).encode("utf-8", "surrogatepass"), digest_size=3).hexdigest()


def name_parts(chosen: LoggedSlice | UnreadableSlice) -> tuple[str, str, str]:
    """`("sgd", "random2d", "step 500")`."""
    return chosen.run.removesuffix("/loss_slicer"), chosen.tag, f"{chosen.step_unit} {chosen.step}"


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
