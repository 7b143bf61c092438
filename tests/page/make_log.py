"""Logs for the tests of the page: surfaces like those of trained networks, and the awkward ones."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import RecordWriter

from slicer_core.slices import Axis, Center, Curve, Direction, Marker, Measure, Slice, SliceArray
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


def arrays(values: np.ndarray, split: str = "train", name: str = "loss", samples: int = 1000) -> list[SliceArray]:
    """A value with an error that grows with it, and its count."""
    with np.errstate(invalid="ignore"):
        stderr = 0.04 * np.sqrt(np.abs(values)) + 0.01
    count = np.full(values.shape, samples, dtype=np.int64)
    return [
        SliceArray(name=name, split=split, role="value", values=values.astype(np.float64)),
        SliceArray(name=name, split=split, role="stderr", values=stderr.astype(np.float32)),
        SliceArray(name=name, split=split, role="count", values=count),
    ]


def grid(
    step: int,
    shape: tuple[int, int] = (51, 41),
    *,
    explode: bool = False,
    holes: bool = False,
    slice_type: str = "random_direction_2d",
    **fields: Any,
) -> Slice:
    """A bent valley with ripples; it may explode in one corner, and have patches without a finite value."""
    first, second = np.linspace(-1.0, 1.0, shape[0]), np.linspace(-0.5, 1.0, shape[1])
    a, b = np.meshgrid(first, second, indexing="ij")
    depth = 2.3 * np.exp(-step / 700)
    loss = (
        depth + 1.9 * (a - 0.25 * b**2) ** 2 + 1.1 * (b + 0.3 * a * b) ** 2 + 0.12 * np.sin(5 * a + 2) * np.sin(4 * b)
    )
    loss += 0.16 * (1 + np.tanh(4 * (a + b)))
    if explode:
        loss += np.exp(14 * (np.maximum(a + b - 1.45, 0.0)))
    if holes:
        loss[(a + 0.55) ** 2 + (b - 0.6) ** 2 < 0.06] = np.nan
        loss[-4:, -3:] = np.inf
    loss = np.maximum(loss, 0.01)
    accuracy = 1 / (1 + np.where(np.isfinite(loss), loss, 10.0))
    recipe = {"kind": "random", "seed": 0, "normalize": "filter", "ignore": "biasbn"}
    return Slice(
        slice_type=slice_type,
        geometry="grid",
        axes=(
            Axis(name="first", label="direction 1 (α₁)", values=first),
            Axis(name="second", label="direction 2 (α₂)", values=second),
        ),
        arrays=(
            *arrays(loss),
            *arrays(loss * 1.08 + 0.05, "test", samples=500),
            *arrays(accuracy, name="accuracy"),
        ),
        directions=(
            Direction(name="1", recipe=recipe | {"axis": 0}, norm=31.2),
            Direction(name="2", recipe=recipe | {"axis": 1}, norm=30.7),
        ),
        cosine=0.0031,
        center=Center(
            loss={"train": float(loss[shape[0] // 2, shape[1] // 3]), "test": 0.31},
            metrics={"accuracy": {"train": 0.93}},
            step=step,
            norm=28.4,
        ),
        measures={
            "nonconvex_share": Measure(value=0.184, error=0.02),
            "epsilon_sharpness": Measure(value=1.73, error=0.11),
        },
        checkpoint={"path": f"checkpoints/step-{step}.pt", "step": step, "step_unit": "step"},
        evaluation={
            "samples": 1000,
            "batches": 4,
            "device": "cpu",
            "dtype": "float32",
            "strategy": "loop",
            "seconds": 8.4,
        },
        config={"method": slice_type, "grid": list(shape), "range": [[-1, 1], [-0.5, 1]], "seed": 0},
        **fields,
    )


def curve(step: int, points: int = 51, *, explode: bool = False, gap: bool = False) -> Slice:
    """A path between two minima with a barrier."""
    alpha = np.linspace(-0.5, 1.5, points) if points > 1 else np.array([0.0])
    depth = 2.3 * np.exp(-step / 700)
    loss = depth + 0.08 + 1.4 * (alpha * (1 - alpha)) ** 2 * (1.6 + 0.4 * np.sin(9 * alpha))
    loss += 0.9 * np.maximum(np.abs(alpha - 0.5) - 0.5, 0.0) ** 1.5
    if explode:
        loss[-1] = 4e6
    if gap:
        loss[points // 3 : points // 3 + 4] = np.nan
    return Slice(
        slice_type="linear_interpolation",
        geometry="curve",
        axes=(Axis(name="alpha", label="α", values=alpha),),
        arrays=(*arrays(loss), *arrays(loss * 1.15 + 0.06, "test")),
        center=Center(loss={"train": depth + 0.08, "test": depth + 0.15}, step=step, norm=28.4),
        markers=(
            Marker(name="step 0", coordinates=(0.0,), loss={"train": depth + 0.08}),
            Marker(name="last checkpoint", coordinates=(1.0,), loss={"train": depth + 0.08}),
        )
        if points > 1
        else (),
        measures={"barrier": Measure(value=0.146, error=0.012)},
    )


def repeated(points: int = 31) -> Slice:
    """The losses along one of four directions, with mean, lowest and highest of all."""
    alpha = np.linspace(-1.0, 1.0, points)
    losses = 0.3 + np.array([1.0, 0.4, 1.7, 1.2])[:, None] * alpha**2
    names = {"loss": losses[0], "loss_mean": losses.mean(0), "loss_low": losses.min(0), "loss_high": losses.max(0)}
    recipe = {"kind": "random", "seed": 0, "repeats": len(losses)}
    return Slice(
        slice_type="random_direction_1d",
        geometry="curve",
        axes=(Axis(name="alpha", label="α", values=alpha),),
        arrays=tuple(
            SliceArray(name=name, split="train", role="value", values=values) for name, values in names.items()
        ),
        directions=(Direction(name="alpha", recipe=recipe, norm=12.0),),
        center=Center(loss={"train": 0.3}, step=0),
    )


def family(step: int, count: int = 24, points: int = 41) -> Slice:
    """Parabolas of different curvature, some flat, as single parameters have them."""
    random = np.random.default_rng(3)
    offset = np.linspace(-1.0, 1.0, points)
    curvature = np.exp(random.normal(-1.5, 1.6, size=(count, 1)))
    skew = random.normal(0.0, 0.5, size=(count, 1))
    loss = 0.2 + 2.1 * np.exp(-step / 700) + curvature * (offset**2 + skew * offset**3 + 0.03 * np.sin(7 * offset))
    layers = ["conv1", "layer1.0.conv2", "layer2.1.conv1", "fc"]
    return Slice(
        slice_type="axis_parallel",
        geometry="curves",
        axes=(Axis(name="offset", label="offset from the parameter's value", values=offset),),
        arrays=tuple(arrays(loss)),
        curves=tuple(
            Curve(
                name=f"{layers[index % 4]}.weight[{index},{3 * index}]",
                layer=layers[index % 4],
                index=(index, 3 * index),
                shape=(64, 512),
                center=float(random.normal()),
            )
            for index in range(count)
        ),
        center=Center(loss={"train": 0.2}, step=step),
    )


def trajectory(step: int) -> Slice:
    """A plane of principal components with the checkpoints' way through it."""
    turn = np.linspace(0, 1, 9)
    way = np.stack([-0.9 * (1 - turn), 0.9 * (1 - turn) ** 2 - 0.2 * np.sin(3 * turn) * (1 - turn)], axis=1)
    plane = grid(
        step,
        (41, 41),
        slice_type="pca_2d",
        trajectory={"steps": list(range(0, 900, 100)), "coordinates": way.tolist(), "residuals": [0.1] * 9},
        markers=(Marker(name="first", coordinates=(float(way[0, 0]), float(way[0, 1])), loss={"train": 2.4}),),
    )
    labels = ("principal component 1 (95.5 %)", "principal component 2 (3.78 %)")
    axes = tuple(replace(axis, label=label) for axis, label in zip(plane.axes, labels, strict=True))
    return replace(plane, axes=axes)


def told(step: int) -> Slice:
    """A small grid whose header says all that a header can."""
    data = grid(step, (5, 4))
    filled = np.zeros((5, 4), dtype=np.int64)
    filled.flat[:5] = 1
    return replace(
        data,
        arrays=(*data.arrays, SliceArray(name="loss", split="train", role="interpolated", values=filled)),
        center=Center(loss={"train": 1.0}, whole_loss={"train": 0.75}, data_loss={"train": 0.5}, step=step),
        measures={"sharpness": Measure(value=1.5, error=0.25, details={"restarts": 4})},
        trajectory={"steps": [0, step], "coordinates": [[0.5, 0.5], [0, 0]], "residuals": [0.125, 0.0]},
        evaluation={"samples": 100, "strategy": "loop", "trials": {"loop": 0.2, "vmap": 0.3}, "workers": 3},
        config={
            "checkpoints": ["runs/it's $HOME"],
            "method": "random2d",
            "grid": "5x4",
            "range": "-1.0:1.0,-0.5:1.0",
            "center": "each",
            "steps": "all",
            "tolerance": "1%",
            "method_options": {},
        },
    )


def with_seconds_left(data: Slice, seconds: float, as_of: float) -> Slice:
    """The slice as a run writes it before it is complete."""
    return replace(data, evaluation={**data.evaluation, "seconds_left": seconds, "as_of": as_of})


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


def measured_grid(step: int, shape: tuple[int, int] = (21, 17)) -> Slice:
    """A bowl that flattens, with errors of the difference to the center, and points that were filled in."""
    first, second = np.linspace(-1.0, 1.0, shape[0]), np.linspace(-1.0, 1.0, shape[1])
    a, b = np.meshgrid(first, second, indexing="ij")
    loss = 0.1 + (1 + 400 / (100 + step)) * (a**2 + 0.5 * b**2)
    filled = ((np.arange(shape[0])[:, None] + np.arange(shape[1])) % 4 == 1).astype(np.int64)
    extra = (
        SliceArray(name="loss", split="train", role="difference_stderr", values=0.2 * np.hypot(a, b)),
        SliceArray(name="loss", split="train", role="interpolated", values=filled),
    )
    return Slice(
        slice_type="random_direction_2d",
        geometry="grid",
        axes=(
            Axis(name="first", label="direction 1 (α₁)", values=first),
            Axis(name="second", label="direction 2 (α₂)", values=second),
        ),
        arrays=(*arrays(loss), *extra),
        center=Center(loss={"train": 0.1}, step=step, norm=28.4),
        measures={"epsilon_sharpness": Measure(value=1.7 - step / 300, error=0.11)},
    )


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
    """Names that turn the reading direction, and one of 5,000 characters."""
    tags = ("tag\u202egnp.exe", "x" * 5000)
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
