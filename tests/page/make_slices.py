"""Slices for the tests of the page: surfaces like those of trained networks, lines, families and headers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from slicer_core.slices import Axis, Center, Curve, Direction, Marker, Measure, Slice, SliceArray


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
