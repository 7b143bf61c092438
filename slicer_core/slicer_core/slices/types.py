"""The slice types that a log may hold, and the geometry of each: the names are part of the format."""

from __future__ import annotations

from typing import Literal

Geometry = Literal["curve", "curves", "grid"]

GEOMETRIES: dict[str, tuple[Geometry, ...]] = {
    "linear_interpolation": ("curve",),
    "axis_parallel": ("curves",),
    "layer_directions": ("curves",),
    "random_direction_1d": ("curve",),
    "random_direction_2d": ("grid",),
    "pca_2d": ("grid",),
    "hessian_1d": ("curve",),
    "hessian_2d": ("grid",),
    "gradient_1d": ("curve",),
    "plane": ("grid",),
    "bezier_curve": ("curve",),
    "custom": ("curve", "curves", "grid"),
}
"""Slice type -> the geometries that it may have."""
