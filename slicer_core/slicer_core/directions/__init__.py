"""Directions in parameter space: each is a pure function of its recipe."""

from slicer_core.directions.coordinate import Coordinate, coordinate_direction, coordinates_at, parse_selection
from slicer_core.directions.normalization import (
    FilterLayout,
    filter_layouts,
    normalize_direction,
)
from slicer_core.directions.random import RECIPE, random_direction

__all__ = [
    "RECIPE",
    "Coordinate",
    "FilterLayout",
    "coordinate_direction",
    "coordinates_at",
    "filter_layouts",
    "normalize_direction",
    "parse_selection",
    "random_direction",
]
