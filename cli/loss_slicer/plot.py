"""`loss-slicer plot`: slices of a log as figures for a paper or a talk."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loss_slicer.selection import LogDir, Runs, Steps, Tags, choose, file_stem, name_parts, write_new_file
from loss_slicer.statuses import Status, reported, say
from slicer_core.errors import UsageError

_LOOK = "How it looks"


def plot(
    logdir: LogDir = Path("runs"),
    run: Runs = None,
    tag: Tags = None,
    step: Steps = "last",
    view: Annotated[
        str | None,
        typer.Option(
            help="curve, family, contour, surface or trajectory (default: by the slice).", rich_help_panel=_LOOK
        ),
    ] = None,
    quantity: Annotated[str, typer.Option(help="loss, or a metric of the slice.", rich_help_panel=_LOOK)] = "loss",
    split: Annotated[
        str | None, typer.Option(help="train or test (default: the first).", rich_help_panel=_LOOK)
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="All chosen curves in one figure.", rich_help_panel=_LOOK)
    ] = False,
    scale: Annotated[str, typer.Option(help="auto, linear or log.", rich_help_panel=_LOOK)] = "auto",
    levels: Annotated[
        str, typer.Option(help="Contour lines: about how many, or their values as in 0.1,1,10.", rich_help_panel=_LOOK)
    ] = "12",
    colormap: Annotated[
        str, typer.Option(help="viridis, cividis, magma, inferno, plasma or gray.", rich_help_panel=_LOOK)
    ] = "viridis",
    title: Annotated[str | None, typer.Option(help="Default: run, tag and step.", rich_help_panel=_LOOK)] = None,
    width: Annotated[float, typer.Option(help="Inches.", rich_help_panel=_LOOK)] = 5.0,
    height: Annotated[float | None, typer.Option(help="Inches (default: by the view).", rich_help_panel=_LOOK)] = None,
    font_size: Annotated[float, typer.Option(help="Points.", rich_help_panel=_LOOK)] = 9.0,
    dpi: Annotated[float, typer.Option(help="Dots an inch of a PNG.", rich_help_panel=_LOOK)] = 200.0,
    format: Annotated[str, typer.Option(help="png, svg or pdf.", rich_help_panel="Where it goes")] = "png",
    out: Annotated[
        Path, typer.Option(help="Folder of the figures, or the file of a single one.", rich_help_panel="Where it goes")
    ] = Path("figures"),
) -> None:
    """Draw slices of a log with matplotlib, one figure each.

    Needs the extra `plot`. What can't be read or drawn is told, and the rest drawn.

    Exit status: 0 done, 2 there is no such slice, or one can't be read or drawn so.
    """
    with reported():
        from slicer_core.figures import FIGURE_FORMATS, FigureStyle, Labeled, draw, save
        from slicer_core.figures.style import Quantity

        is_file = out.suffix.removeprefix(".") in FIGURE_FORMATS
        file_format = out.suffix.removeprefix(".") if is_file else format
        if file_format not in FIGURE_FORMATS:
            raise UsageError(f"--format {file_format!r} is not one of {', '.join(FIGURE_FORMATS)}")
        style = FigureStyle(
            width=width,
            height=height,
            font_size=font_size,
            color_map=colormap,
            scale=scale,  # pyright: ignore[reportArgumentType] - FigureStyle checks it
            levels=_levels(levels),
            dots_per_inch=dpi,
        )
        failed: list[str] = []

        def tell(failure: str) -> None:
            failed.append(failure)
            say(f"error: {failure}")

        chosen, unreadable = choose(logdir, run, tag, step)
        for each in unreadable:
            tell(str(each.error))
        groups = [chosen] if overlay and chosen else [[each] for each in chosen]
        if is_file and len(groups) > 1:
            raise UsageError(f"--out {out} is one file, and {len(groups)} figures are asked for: give a folder")
        for group in groups:
            shared, labels = _common_parts([name_parts(each) for each in group])
            entries = [Labeled(label=text, data=each.data) for text, each in zip(labels, group, strict=True)]
            named = replace(style, title=title or shared or None)
            try:
                figure = draw(entries, view=view, quantity=Quantity(name=quantity, split=split), style=named)
            except UsageError as error:
                tell(f"{', '.join(name_parts(group[-1]))}: {error}")
                continue
            name = f"{file_stem(group[-1])}{f'-{view}' if view else ''}.{file_format}"
            path = out if is_file else out / name
            write_new_file(path, save(figure, file_format, style))
            sys.stdout.write(f"{path}\n")
        if failed:
            raise typer.Exit(Status.USAGE)


def _common_parts(names: Sequence[tuple[str, ...]]) -> tuple[str, list[str]]:
    """What all names share, for the title, and what is left of each, for the legend."""
    columns = list(zip(*names, strict=True))
    alike = [len(set(column)) == 1 for column in columns]
    shared = ", ".join(column[0] for column, same in zip(columns, alike, strict=True) if same)
    rest = [", ".join(part for part, same in zip(name, alike, strict=True) if not same) or shared for name in names]
    return shared, rest


def _levels(text: str) -> int | tuple[float, ...]:
    try:
        return int(text) if text.strip().isdigit() else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--levels {text!r} is neither a number of lines nor values as in 0.1,1,10") from None
