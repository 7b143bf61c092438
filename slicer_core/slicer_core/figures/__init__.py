"""Slices as figures for papers and talks, by matplotlib (the extra `plot`): one file a view, and the table of them."""

from __future__ import annotations

from slicer_core.figures.animation import animate
from slicer_core.figures.style import FigureStyle, Labeled
from slicer_core.figures.views import FIGURE_FORMATS, VIEWS, View, default_view, draw, save

__all__ = ["FIGURE_FORMATS", "VIEWS", "FigureStyle", "Labeled", "View", "animate", "default_view", "draw", "save"]
