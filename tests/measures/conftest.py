"""Slices made by hand, of losses that are known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from slicer_core.slices import Axis, Center, Curve, Direction, Slice, SliceArray


def arrays_of(values: np.ndarray, errors: np.ndarray | None, split: str = "train") -> tuple[SliceArray, ...]:
    found = [SliceArray(name="loss", split=split, role="value", values=values)]
    if errors is not None:
        found.append(SliceArray(name="loss", split=split, role="difference_stderr", values=errors.astype(np.float32)))
    return tuple(found)


@pytest.fixture(scope="session")
def curve() -> Callable[..., Slice]:
    """Coordinates and losses, or a function of the coordinates -> a curve."""

    def build(coordinates: Any, losses: Any, *, errors: Any = None, center: float | None = None, **more: Any) -> Slice:
        at = np.asarray(coordinates, dtype=np.float64)
        values = np.asarray(losses(at) if callable(losses) else losses, dtype=np.float64)
        spread = None if errors is None else np.broadcast_to(np.asarray(errors), values.shape)
        return Slice(
            **{
                "slice_type": "random_direction_1d",
                "geometry": "curve",
                "axes": (Axis(name="alpha", label="α", values=at),),
                "arrays": arrays_of(values, spread),
                "center": None if center is None else Center(loss={"train": center}),
                **more,
            }
        )

    return build


@pytest.fixture(scope="session")
def grid() -> Callable[..., Slice]:
    """Two axes and a function of both -> a plane; the directions have these norms and this cosine."""

    def build(
        first: Any, second: Any, losses: Any, *, errors: Any = None, norms: Any = (1.0, 1.0), cosine: float = 0.0
    ) -> Slice:
        axes = [np.asarray(values, dtype=np.float64) for values in (first, second)]
        mesh = np.meshgrid(*axes, indexing="ij")
        values = np.asarray(losses(*mesh) if callable(losses) else losses, dtype=np.float64)
        spread = None if errors is None else np.broadcast_to(np.asarray(errors), values.shape)
        return Slice(
            slice_type="random_direction_2d",
            geometry="grid",
            axes=tuple(
                Axis(name=name, label=name, values=at) for name, at in zip(("alpha", "beta"), axes, strict=True)
            ),
            arrays=arrays_of(values, spread),
            directions=tuple(
                Direction(name=name, recipe={}, norm=norm) for name, norm in zip(("alpha", "beta"), norms, strict=True)
            ),
            cosine=cosine,
        )

    return build


@pytest.fixture(scope="session")
def family() -> Callable[..., Slice]:
    """Coordinates and the losses of each curve -> a family of curves called a, b, …"""

    def build(coordinates: Any, *losses: Any) -> Slice:
        at = np.asarray(coordinates, dtype=np.float64)
        rows = np.stack([np.asarray(row(at) if callable(row) else row, dtype=np.float64) for row in losses])
        return Slice(
            slice_type="axis_parallel",
            geometry="curves",
            axes=(Axis(name="offset", label="offset", values=at),),
            arrays=arrays_of(rows, None),
            curves=tuple(Curve(name=name, layer="0") for name, _ in zip("abcdef", rows, strict=False)),
            directions=(Direction(name="offset", recipe={}, norm=1.0),),
        )

    return build
