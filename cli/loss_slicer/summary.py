"""What a run shows at its end: a table, a small picture of each slice, and where to look; or the same as JSON."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loss_slicer.accuracy import describe_accuracy
from loss_slicer.measure_table import measure_table
from loss_slicer.pictures import picture
from loss_slicer.plain_text import printable
from loss_slicer.progress import describe_trials
from loss_slicer.step_column import step_column
from slicer_core.host_memory import size_text
from slicer_core.job import Estimate, FinishedSlice, Job, JobResult
from slicer_core.slices import Center, encode_slice, parse_header

SCHEMA = 1
# More than this many pictures scroll away; the first and the last steps tell most.
_MAX_PICTURES = 4


def show_result(job: Job, result: JobResult, *, verbose: bool) -> None:
    """The table, the pictures and the way to the log, on stdout."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    color = console.is_terminal and console.color_system is not None and not console.no_color
    if result.num_new == 0 and not result.failures:
        console.print(Text("All of it was there already; nothing was computed. --fresh starts over."))
    unit, steps = step_column(result.slices)
    _show_table(console, ("source", unit, *_COLUMNS), _rows(result.slices, steps))
    measures = measure_table(result.slices, console.width if console.is_terminal else None)
    if measures is not None:
        console.print()
        _show_table(console, measures.columns, measures.rows)
        if measures.left_out:
            left_out = ", ".join(name.replace("_", " ") for name in measures.left_out)
            console.print(Text(f"(in --json and on the page also: {left_out})"))
    chosen = _worth_showing(result.slices)
    for shown in chosen:
        console.print(
            Text(f"\n{printable(shown.source)}, {printable(shown.tag)}, {printable(shown.data.step_unit)} {shown.step}")
        )
        console.print(picture(shown.data, color=color), no_wrap=True, overflow="crop")
        for text in describe_accuracy(shown.data.evaluation):
            console.print(Text(printable(text, limit=1000)))
    if len(chosen) < len(result.slices):
        console.print(Text(f"\n({len(chosen)} of {len(result.slices)} slices are drawn here)"))
    if result.failures:
        console.print(Text(f"\n{len(result.failures)} failed; each is told above, or on stderr"))
    logdir, quoted = printable(job.logdir, limit=1000), printable(shlex.quote(job.logdir), limit=1000)
    console.print(Text(f"\nlog: {logdir}\nlook at it: loss-slicer view {quoted}"))


def show_estimate(cost: Estimate) -> None:
    """`--dry-run` as lines."""
    samples = ", ".join(f"{count} {split}" for split, count in cost.samples.items())
    most = "" if cost.tolerance is None else "at most "
    lines = [
        f"method           {cost.method}",
        f"checkpoints      {cost.checkpoints}",
        f"points           {most}{cost.points:,}",
        f"forward passes   {most}{cost.forward_passes:,} (batches; {samples} samples at each point)",
        *([f"backward passes  {cost.backward_passes:,} (batches, for measures)"] if cost.backward_passes else []),
        f"parameters       {cost.parameters:,}",
        f"to read          {size_text(cost.bytes_read)}",
        f"to write         {size_text(cost.bytes_written)} before compression",
        f"to go on from    {most}{size_text(cost.bytes_stored)} in the store besides",
        f"time             {most}{_duration(cost.seconds)}, from a few passes at one center, if nothing is stored yet",
        f"strategy         {cost.strategy}{describe_trials(cost.trials)}",
        *(f"into             {printable(run_dir, limit=300)}" for run_dir in cost.run_dirs),
    ]
    Console(highlight=False, soft_wrap=True).print(Text("\n".join(lines)))


def result_document(job: Job, result: JobResult) -> dict[str, Any]:
    """The result as JSON values: headers, not arrays."""
    return {
        "schema": SCHEMA,
        "status": "failures" if result.failures else "done",
        "new": result.num_new,
        "logdir": job.logdir,
        "slices": [
            {
                "source": finished.source,
                "run_dir": str(finished.run_dir),
                "tag": finished.tag,
                "step": finished.step,
                "stored": finished.stored,
                "header": parse_header(encode_slice(finished.data)[0]),
            }
            for finished in result.slices
        ],
        "failures": [{"path": str(failure.path), "error": str(failure.error)} for failure in result.failures],
    }


def _rows(slices: tuple[FinishedSlice, ...], steps: Sequence[str]) -> list[tuple[str, ...]]:
    rows = []
    for finished, step in zip(slices, steps, strict=True):
        center, loss = finished.data.center, finished.data.loss
        array = finished.data.arrays[0]
        rows.append(
            (
                printable(finished.source, limit=40),
                step,
                _center_loss(center, array.split),
                _number(float(loss[loss == loss].min()) if (loss == loss).any() else None),
                _number(float(loss[loss == loss].max()) if (loss == loss).any() else None),
                f"{'x'.join(map(str, loss.shape))}",
                "stored" if finished.stored else f"{finished.data.evaluation.get('seconds', 0):.1f} s",
            )
        )
    return rows


_COLUMNS = ("loss at center", "lowest", "highest", "points", "time")


def _show_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    console.print(_table(columns, rows) if console.is_terminal else _plain_table(columns, rows))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column == "source" else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Text:
    lines = [columns, *rows]
    widths = [max(len(row[index]) for row in lines) for index in range(len(columns))]
    return Text(
        "\n".join(
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in lines
        )
    )


def _worth_showing(slices: tuple[FinishedSlice, ...]) -> list[FinishedSlice]:
    """All of a few; else the first and last steps, of as many sources as fit."""
    if len(slices) <= _MAX_PICTURES:
        return list(slices)
    by_source: dict[str, list[FinishedSlice]] = {}
    for finished in slices:
        by_source.setdefault(finished.source, []).append(finished)
    if len(by_source) > _MAX_PICTURES // 2:
        return [group[-1] for group in list(by_source.values())[:_MAX_PICTURES]]
    return [shown for group in by_source.values() for shown in ([group[0], group[-1]] if len(group) > 1 else group)]


def _center_loss(center: Center | None, split: str) -> str:
    """The loss at the center on the samples of the slice and, where these are a part, on all."""
    if center is None:
        return _number(None)
    loss = _number(center.loss.get(split))
    return f"{loss} (all: {_number(center.whole_loss[split])})" if split in center.whole_loss else loss


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    if seconds < 100:
        return f"about {seconds:.0f} s"
    if seconds < 6000:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
