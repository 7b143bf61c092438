"""The values of contour lines in figures: the levels' own, inside the plane, clear of what else is there."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from slicer_core.figures import FigureStyle, Labeled, draw
from slicer_core.figures.contour_labels import level_texts
from slicer_core.slices import Axis, Marker, Slice, SliceArray

SIDE = np.linspace(-1, 1, 41)
BOWL = 1 + 4 * np.add.outer(SIDE**2, 0.6 * SIDE**2)


def grid(values: np.ndarray) -> Slice:
    axes = tuple(Axis(name=f"a{i}", label=f"direction {i}", values=SIDE) for i in (0, 1))
    array = SliceArray(name="loss", split="train", role="value", values=values)
    return Slice(slice_type="random_direction_2d", geometry="grid", axes=axes, arrays=(array,))


def labels_of(data: Slice, view: str = "contour", **style: Any) -> tuple[Any, list[Any]]:
    """The plane's axes, and its texts that stand on contour lines."""
    figure = draw([Labeled(label="run", data=data)], view=view, style=FigureStyle(**style))
    figure.draw_without_rendering()
    axes: Any = figure.axes[0]
    return axes, [text for text in axes.texts if text.get_zorder() < 3]


def test_contour_lines_have_their_values():
    axes, labels = labels_of(grid(BOWL), levels=(1.5, 2.25, 4.0))
    assert {label.get_text() for label in labels} == {"1.5", "2.25", "4"}
    for label in labels:
        x, y = axes.transData.inverted().transform(axes.transData.transform(label.get_position()))
        assert 1 + 4 * (x**2 + 0.6 * y**2) == pytest.approx(float(label.get_text()), abs=0.1)


def test_labels_are_inside_the_plane_and_clear_of_each_other():
    axes, labels = labels_of(grid(BOWL), levels=20)
    assert len(labels) > 5
    boxes = [label.get_window_extent() for label in labels]
    assert all(axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 for box in boxes)
    assert all(axes.bbox.y0 < box.y0 and box.y1 < axes.bbox.y1 for box in boxes)
    centers = [np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]) for box in boxes]
    height = 0.7 * 9 * 200 / 72
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(centers, 2)) > height


def test_lines_that_are_dense_have_no_labels():
    assert not labels_of(grid(BOWL), levels=150, width=2.0)[1]
    assert not labels_of(grid(BOWL), levels=0)[1]


@pytest.mark.parametrize("view", ["contour", "trajectory"])
def test_labels_keep_clear_of_markers_and_the_path(view: str):
    data = grid(BOWL)
    _, free = labels_of(data, levels=(2.0,))
    place = free[0].get_position()
    marker = Marker(name="", coordinates=(float(place[0]), float(place[1])))
    path = {"steps": [0, 1], "coordinates": [[-1, place[1]], [1, place[1]]], "residuals": [0, 0]}
    for taken in (replace(data, markers=(marker,)), replace(data, trajectory=path)):
        if view == "trajectory" and taken.trajectory is None:
            continue
        _, left = labels_of(taken, view, levels=(2.0,))
        assert place not in [label.get_position() for label in left]


def test_texts_of_levels_tell_them_apart():
    assert level_texts(FigureStyle(levels=2), np.array([0.12345, 12.0])) == ["0.123", "12"]
    assert level_texts(FigureStyle(levels=2), np.array([1.0001, 1.0002])) == ["1.0001", "1.0002"]
    assert level_texts(FigureStyle(levels=2), 2.3 + np.array([1e-9, 2e-9])) == ["2.300000001", "2.300000002"]
    assert level_texts(FigureStyle(levels=(-0.12345,)), np.array([-0.12345])) == ["\N{MINUS SIGN}0.12345"]
