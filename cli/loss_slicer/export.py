"""`loss-slicer export`: slices of a log as files for other programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loss_slicer.selection import LogDir, Runs, Steps, Tags, choose, file_stem, name_parts, report_stem, write_new_file
from loss_slicer.statuses import Status, reported, say
from slicer_core.errors import UsageError

if TYPE_CHECKING:
    from tensorboard_loss_slicer.log_selection import LoggedSlice

_FIGURES = ("png", "svg", "pdf")
_ANIMATION = "gif"
_REPORT = "html"
_ALL = ("npz", "csv", "json", "netcdf", "vtk", *_FIGURES, _ANIMATION, _REPORT)


def export(
    logdir: LogDir = Path("runs"),
    run: Runs = None,
    tag: Tags = None,
    step: Steps = "all",
    format: Annotated[str, typer.Option(help=f"{', '.join(_ALL)}.", rich_help_panel="Where it goes")] = "npz",
    view: Annotated[
        str | None,
        typer.Option(help="Of figures: as in `plot`, which has more options.", rich_help_panel="Where it goes"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the files.", rich_help_panel="Where it goes")] = Path("exported"),
) -> None:
    """Write slices of a log as files, one each; of `gif`, one for each run and tag, over the steps.

    `html` is one file with all of them: the page that TensorBoard shows, which any browser opens without a server.

    Needs the event files only. netcdf, vtk and figures need extras of the same name (figures: `plot`).

    What can't be read, or written so, is told, and the rest written; an animation or a page goes without it.

    Exit status: 0 done, 2 there is no such slice, or one can't be read or written so.
    """
    with reported():
        if format not in _ALL:
            raise UsageError(f"--format {format!r} is not one of {', '.join(_ALL)}")
        if view is not None and format not in (*_FIGURES, _ANIMATION):
            raise UsageError(f"--view is for figures ({', '.join((*_FIGURES, _ANIMATION))}), not for {format}")
        chosen, unreadable = choose(logdir, run, tag, step)
        for each in unreadable:
            say(f"error: {each.error}")
        if format == _ANIMATION:
            files = _animations(chosen, view)
        elif format == _REPORT:
            files = _report(chosen, logdir) if chosen else iter(())
        else:
            files = _single_files(chosen, format, view)
        failed = _write(files, out)
        if unreadable or failed:
            raise typer.Exit(Status.USAGE)


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file's name, what makes its content, and of what it is, for a message."""

    name: str
    content: Callable[[], bytes]
    what: str


Files = Iterator[_File]


def _write(files: Files, out: Path) -> list[str]:
    """Writes all that can be made, and tells why others are not there.

    Raises:
        UsageError: a file can't be written.
    """
    failed: list[str] = []
    for file in files:
        try:
            content = file.content()
        except UsageError as error:
            failed.append(str(error))
            say(f"error: {file.what}: {error}")
            continue
        path = out / file.name
        write_new_file(path, content)
        sys.stdout.write(f"{path}\n")
    return failed


def _single_files(chosen: list[LoggedSlice], name: str, view: str | None) -> Files:
    if name in _FIGURES:
        from slicer_core.figures import Labeled, draw, save

        for each in chosen:
            entry = Labeled(label=", ".join(name_parts(each)), data=each.data)
            yield _File(
                name=f"{file_stem(each)}.{name}",
                content=lambda entry=entry: save(draw([entry], view=view), name),
                what=entry.label,
            )
        return
    from slicer_core.slices.export import EXPORT_FORMATS

    export_format = EXPORT_FORMATS[name]
    for each in chosen:
        yield _File(
            name=f"{file_stem(each)}{export_format.suffix}",
            content=lambda data=each.data: export_format.encode(data),
            what=", ".join(name_parts(each)),
        )


def _animations(chosen: list[LoggedSlice], view: str | None) -> Files:
    from slicer_core.figures import Labeled, animate

    for _, group in groupby(chosen, key=lambda each: (each.run, each.tag)):
        entries = list(group)
        labeled = [Labeled(label=", ".join(name_parts(each)), data=each.data) for each in entries]
        yield _File(
            name=f"{file_stem(entries[-1], with_step=False)}.gif",
            content=lambda labeled=labeled: animate(labeled, view=view),
            what=", ".join(name_parts(entries[-1])[:2]),
        )


def _report(chosen: list[LoggedSlice], logdir: Path) -> Files:
    from tensorboard_loss_slicer.report import make_report

    content = make_report(chosen, title=f"Loss Slicer: {logdir.resolve().name}")
    say(f"{len(chosen)} slices in one file of {len(content) / 2**20:.1f} MiB")
    yield _File(name=f"{report_stem(logdir, chosen)}.html", content=lambda: content, what=str(logdir))
