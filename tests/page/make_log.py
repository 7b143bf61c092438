"""Logs for the tests of the page, the usual and the awkward ones, of the slices of `make_slices`."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from make_slices import arrays as arrays
from make_slices import curve, family, grid, measured_grid, repeated, trajectory
from make_slices import told as told
from make_slices import with_seconds_left as with_seconds_left
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import RecordWriter

from slicer_core.slices import Axis, Direction, Marker, Measure, Slice, SliceArray
from tensorboard_loss_slicer.protos import Summary, slice_summary

if TYPE_CHECKING:
    from collections.abc import Iterable

HOSTILE = "<img src=x onerror=window.parent.hacked=1>"
LONG = "a-very-long-name/" * 6 + "with.dots.and_underscores_and_no_place_to_break_" * 3


def write_run(logdir: Path, run: str, entries: Iterable[tuple[str, int, Slice, str]]) -> None:
    """One event file of `(tag, step, slice, description)`, in that order."""
    directory = logdir / run
    directory.mkdir(parents=True, exist_ok=True)
    writer = EventFileWriter(str(directory))
    for index, (tag, step, data, description) in enumerate(entries):
        summary = slice_summary(tag, data, description)
        writer.add_event(Event(wall_time=1.7e9 + 60 * index, step=step, summary=summary))
    writer.close()


def large(logdir: Path, runs: int = 500, tags: int = 200) -> None:
    """Many runs with many tags: the same small curve everywhere, encoded once."""
    summary = slice_summary("tag", curve(0, 5), "")
    (value,) = summary.value
    content = io.BytesIO()
    writer = RecordWriter(content)
    for tag in range(tags):
        value.tag = f"tag-{tag:03d}"
        writer.write(Event(wall_time=1.7e9, step=0, summary=summary).SerializeToString())
    for run in range(runs):
        directory = logdir / f"run-{run:03d}"
        directory.mkdir(parents=True)
        (directory / "events.out.tfevents.1.host").write_bytes(content.getvalue())


def measured(logdir: Path) -> None:
    """What later methods and measures add: significance, interpolation, ends of a line, a large grid."""
    recipe = {"kind": "difference", "to": "last"}
    ends = {"norm_start": 28.4, "norm_end": 30.1, "cosine": 0.25, "layers": {"fc": 0.25, "conv1": 0.75}}
    line = replace(curve(0), directions=(Direction(name="alpha", recipe=recipe | {"ends": ends}, norm=35.5),))
    write_run(
        logdir,
        "measured",
        [
            *(("plane", step, measured_grid(step), "") for step in (0, 100, 200)),
            ("large", 0, measured_grid(0, (181, 191)), ""),
            ("line", 0, line, ""),
            ("repeated", 0, repeated(), ""),
        ],
    )


def usual(logdir: Path) -> None:
    """Two runs with the three main methods and one more."""
    for run, scale in (("resnet20-adam/loss_slicer", 1), ("resnet20-sgd/loss_slicer", 2)):
        steps = [0, 500 * scale, 1000 * scale, 2000 * scale]
        write_run(
            logdir,
            run,
            [
                *((("landscape/filter-normalized"), step, grid(step), "Two random directions.") for step in steps),
                *(("landscape/explodes", step, grid(step, explode=True), "") for step in steps),
                *(("path/to-last", step, curve(step), "From each checkpoint\nto the last one.") for step in steps),
                *(("path/explodes", step, curve(step, explode=True), "") for step in steps),
                *(("parameters", step, family(step), "") for step in steps),
                ("trajectory", steps[-1], trajectory(steps[-1]), ""),
            ],
        )


def awkward(logdir: Path) -> None:
    """What breaks pages: one point, nothing finite, constants, long names, markup, descending axes, many curves."""
    flipped = grid(0, (7, 5))
    reverse = Axis(name="first", label="descending", values=flipped.axes[0].values[::-1])
    constant = np.full((6, 4), 0.7)
    nothing = np.full((6, 4), np.nan)
    axes = (
        Axis(name="a", label="a", values=np.arange(6.0)),
        Axis(name="b", label="b", values=np.array([0.0, 1.0, 10.0, 11.0])),
    )
    write_run(
        logdir,
        "awkward",
        [
            ("grid/holes", 0, grid(0, holes=True), ""),
            ("grid/one-point", 0, grid(0, (1, 1)), ""),
            ("grid/one-row", 0, grid(0, (30, 1)), ""),
            ("grid/constant", 0, _plain_grid(axes, constant), ""),
            ("grid/zero", 0, _plain_grid(axes, np.maximum(np.arange(24.0) - 5, 0).reshape(6, 4)), ""),
            ("grid/nothing-finite", 0, _plain_grid(axes, nothing), ""),
            ("grid/descending", 0, _plain_grid((reverse, flipped.axes[1]), flipped.loss), ""),
            (f"grid/{LONG}", 0, grid(0, (21, 21)), LONG),
            ("curve/one-point", 0, curve(0, 1), ""),
            ("curve/gap", 0, curve(0, gap=True), ""),
            (f"curve/{LONG}", 0, curve(0), ""),
            ("curves/hundreds", 0, family(0, 400), ""),
        ],
    )


def _plain_grid(axes: tuple[Axis, Axis], values: np.ndarray) -> Slice:
    loss = SliceArray(name="loss", split="train", role="value", values=values)
    return Slice(slice_type="random_direction_2d", geometry="grid", axes=axes, arrays=(loss,))


def hostile(logdir: Path) -> None:
    """Markup wherever a name can be."""
    data = curve(0)
    axis = Axis(name=HOSTILE, label=HOSTILE, values=data.axes[0].values)
    marker = Marker(name=HOSTILE, coordinates=(0.5,))
    arrays_ = (SliceArray(name=HOSTILE, split=HOSTILE, role="value", values=data.loss),)
    marked = Slice(
        slice_type="linear_interpolation",
        geometry="curve",
        axes=(axis,),
        arrays=arrays_,
        markers=(marker,),
        measures={HOSTILE: Measure(value=1.0)},
        config={HOSTILE: HOSTILE},
    )
    write_run(logdir, HOSTILE, [(HOSTILE, 0, marked, f"{HOSTILE} **not bold** [no link](javascript:alert(1))")])


def many(logdir: Path, steps: int = 130) -> None:
    """One tag with many steps."""
    write_run(logdir, "many", [("path", 10 * index, curve(10 * index, 21), "") for index in range(steps)])


def epochs(logdir: Path) -> None:
    """Checkpoints that are counted in epochs: a line, and a way through a plane."""

    def counted(data: Slice, epoch: int) -> Slice:
        return replace(data, checkpoint={"path": f"epoch-{epoch}.pt", "step": epoch, "step_unit": "epoch"})

    lines = [("line", epoch, counted(curve(epoch, 21), epoch), "") for epoch in (0, 3)]
    write_run(logdir, "epochs", [*lines, ("way", 3, counted(trajectory(3), 3), "")])


def scalars(logdir: Path) -> None:
    """Data for another tab."""
    directory = logdir / "scalars"
    writer = EventFileWriter(str(directory))
    for step in range(3):
        value = Summary.Value(tag="loss", simple_value=1.0 / (1 + step))
        writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=Summary(value=[value])))
    writer.close()


STRANGE_RUN = "run\u202eeslaf\u200b"


def strange_names(logdir: Path) -> None:
    """Names that turn the reading direction, one of 5,000 characters, and one of none."""
    tags = ("tag\u202egnp.exe", "x" * 5000, "")
    strange = curve(0, 21)
    labelled = Axis(name="alpha", label="\u202e\x00" + "🔥" * 500, values=strange.axes[0].values)
    strange = replace(strange, axes=(labelled,), markers=(Marker(name="\u202e" + "z" * 3000, coordinates=(0.5,)),))
    write_run(logdir, STRANGE_RUN, [(tag, 0, strange, "\u2066" + "y" * 9000) for tag in tags])


def far_apart(logdir: Path) -> None:
    """A grid whose range is more than a float64 can be, and a row."""
    axes = tuple(Axis(name=name, label=name, values=np.arange(11.0)) for name in "ab")
    row = (axes[0], Axis(name="b", label="b", values=np.zeros(1)))
    entries = [
        ("far", 0, _plain_grid((axes[0], axes[1]), np.where(np.eye(11) > 0, 1.7e308, -1.7e308)), ""),
        ("row", 0, _plain_grid(row, np.arange(11.0)[:, None]), ""),
    ]
    write_run(logdir, "far", entries)


LOGS = {
    "usual": usual,
    "awkward": awkward,
    "hostile": hostile,
    "many": many,
    "measured": measured,
    "epochs": epochs,
}

if __name__ == "__main__":
    for name in sys.argv[2:] or list(LOGS):
        LOGS[name](Path(sys.argv[1]))
