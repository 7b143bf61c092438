"""What figures write beside the values: numbers of axes, and names of curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slicer_core.figures import FigureStyle, Labeled, draw
from slicer_core.slices import Axis, Curve, Slice, SliceArray

FLAT = 2.302585 + 1e-6 * np.linspace(-1, 1, 9) ** 2


def loss(values: Any) -> tuple[SliceArray]:
    return (SliceArray(name="loss", split="train", role="value", values=np.asarray(values, dtype=np.float64)),)


def curve(values: Any) -> Slice:
    axis = Axis(name="alpha", label="α", values=np.linspace(-1, 1, len(values)))
    return Slice(slice_type="linear_interpolation", geometry="curve", axes=(axis,), arrays=loss(values))


def grid(values: Any) -> Slice:
    axes = tuple(
        Axis(name=name, label=name, values=np.linspace(-1, 1, size))
        for name, size in zip("ab", values.shape, strict=True)
    )
    return Slice(slice_type="random_direction_2d", geometry="grid", axes=axes, arrays=loss(values))


def family(values: Any) -> Slice:
    axis = Axis(name="alpha", label="α", values=np.linspace(-1, 1, np.shape(values)[1]))
    curves = tuple(Curve(name=f"w[{index}]", layer="w") for index in range(len(values)))
    return Slice(slice_type="axis_parallel", geometry="curves", axes=(axis,), arrays=loss(values), curves=curves)


def drawn(data: Slice, **options: Any) -> Any:
    figure = draw([Labeled(label="run", data=data)], **options)
    figure.draw_without_rendering()
    return figure


@pytest.mark.parametrize("data", [curve(FLAT), family([FLAT]), grid(FLAT[:, None] + np.zeros(4))])
def test_numbers_at_a_vertical_axis_are_whole(data: Slice):
    axes = drawn(data).axes[-1]

    assert axes.yaxis.get_offset_text().get_text() == ""
    values = [float(text.get_text()) for text in axes.get_yticklabels()]
    np.testing.assert_allclose(values, axes.get_yticks(), rtol=0, atol=1e-9)


def test_numbers_beyond_usual_sizes_have_their_powers():
    axes = drawn(curve(1e-30 * np.arange(4.0))).axes[0]

    assert axes.yaxis.get_offset_text().get_text() == ""
    assert "2.0e−30" in [text.get_text() for text in axes.get_yticklabels()]


def test_a_surface_says_in_its_label_what_its_numbers_lack():
    axes = drawn(grid(1e6 + 1e-3 * np.arange(9.0)[:, None] + np.zeros(4)), view="surface").axes[0]

    assert not axes.zaxis.get_offset_text().get_visible()
    assert axes.get_zlabel().startswith("loss (train) ")
    assert "e6" in axes.get_zlabel()


def test_a_surface_with_an_infinite_value_on_a_logarithmic_scale_has_a_hole():
    values = np.exp(np.add.outer(np.arange(5.0), np.arange(5.0)))
    values[0, 0] = -np.inf
    drawn(grid(values), view="surface")


def test_points_between_gaps_are_dots():
    values = [1.0, np.nan, 2.0, np.inf, 3.0, 4.0]
    for data in (curve(values), family([values])):
        dots = [line for line in drawn(data).axes[0].lines if line.get_marker() == "o"]
        assert [dot.get_ydata().tolist() for dot in dots] == [[1.0, 2.0]]


def test_an_axis_without_a_finite_value_has_no_numbers():
    for data in (curve([np.nan] * 3), family([[np.nan] * 3])):
        assert drawn(data).axes[0].get_yticks().tolist() == []
    assert drawn(family([[np.nan] * 3, [1.0, 2.0, 3.0]])).axes[0].get_yticks().size


@pytest.mark.parametrize("count", [2, 20])
def test_runs_whose_names_begin_with_an_underscore_are_in_the_legend(count: int):
    labels = [f"_run{index}" for index in range(count)]
    figure = draw([Labeled(label=label, data=curve(FLAT)) for label in labels])

    (legend,) = figure.legends or [figure.axes[0].get_legend()]
    texts = [text.get_text() for text in legend.get_texts()]
    assert (texts[0], texts[-1]) == (labels[0], labels[-1])


def test_long_names_leave_room_for_the_plot_and_are_told_apart():
    labels = [f"sweep/of-a-very-long-name_lr=0.{index:03d}_with-a-long-end_seed={index}" for index in range(12)]
    figure: Any = draw([Labeled(label=label, data=curve([1.0, 2.0])) for label in labels], style=FigureStyle(width=4))
    figure.draw_without_rendering()

    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(set(texts)) == 12
    assert figure.axes[0].get_position().width > 0.4


@pytest.mark.parametrize("height", [0.0, 1e-9, 1e-4, 1e-2, 0.03, 5.0])
@pytest.mark.parametrize("base", [2.302585, 1e5])
def test_numbers_at_a_logarithmic_axis_differ(base: float, height: float):
    figure = drawn(curve(base * (1 + height * np.linspace(-1, 1, 9) ** 2)), style=FigureStyle(scale="log"))

    axis = figure.axes[0].yaxis
    labels = [text for minor in (False, True) for text in axis.get_ticklabels(minor=minor) if text.get_text()]
    texts = [text.get_text() for text in labels]
    assert texts
    assert len(set(texts)) == len(texts)


def test_a_frame_that_is_nearly_flat_has_the_axis_of_all():
    style = FigureStyle(scale="log", limits=(1.0, 100.0))
    assert drawn(curve(FLAT), style=style).axes[0].get_yscale() == "log"


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (1.5, ["0.4", "0.45", "0.5", "0.55"]),
        (30, ["0.5", "1", "2", "5", "10"]),
        (1e3, ["1", "10", "100"]),
        (1e40, [rf"$\mathdefault{{10^{{{power}}}}}$" for power in (0, 10, 20, 30)]),
    ],
)
def test_a_surface_on_a_logarithmic_scale_has_round_numbers(ratio: float, expected: list[str]):
    values = 0.37 * ratio ** np.linspace(0, 1, 25).reshape(5, 5)
    axis = drawn(grid(values), view="surface", style=FigureStyle(scale="log")).axes[0].zaxis
    assert [tick.label1.get_text() for tick in axis.get_major_ticks()] == expected
    np.testing.assert_allclose(
        10 ** np.asarray(axis.get_majorticklocs()),
        [float(text) if "$" not in text else 10.0 ** int(text.split("{")[-1].rstrip("}$")) for text in expected],
    )


@pytest.mark.parametrize("ratio", [1.5, 4.0, 30.0, 1e3])
def test_color_bars_and_curves_on_a_logarithmic_scale_have_round_numbers(ratio: float):
    values = 0.37 * ratio ** np.linspace(0, 1, 25)
    bar = drawn(grid(values.reshape(5, 5)), view="contour", style=FigureStyle(scale="log")).axes[1].yaxis
    line = drawn(curve(values), style=FigureStyle(scale="log")).axes[0].yaxis
    for axis in (bar, line):
        places = axis.get_majorticklocs()
        assert len(places) >= 3
        assert all(place == float(f"{place:.2e}") for place in places)
        assert [label.get_text() for label in axis.get_ticklabels()] == [f"{place:g}" for place in places]
        assert not any(label.get_text() for label in axis.get_ticklabels(minor=True))
