"""Directions in parameter space: each is a pure function of its recipe."""

from slicer_core.directions.coordinate import Coordinate, coordinate_direction, coordinates_at, parse_selection
from slicer_core.directions.normalization import (
    FilterLayout,
    filter_layouts,
    normalize_direction,
)
from slicer_core.directions.path import (
    PathPoint,
    PrincipalAxes,
    Projection,
    combined,
    gram_matrix,
    open_points,
    principal_axes,
    project,
)
from slicer_core.directions.random import RECIPE, random_direction

__all__ = [
    "RECIPE",
    "Coordinate",
    "FilterLayout",
    "PathPoint",
    "PrincipalAxes",
    "Projection",
    "combined",
    "coordinate_direction",
    "coordinates_at",
    "filter_layouts",
    "gram_matrix",
    "normalize_direction",
    "open_points",
    "parse_selection",
    "principal_axes",
    "project",
    "random_direction",
]
