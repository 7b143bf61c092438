"""Figures hold the slice's own numbers: read back from what matplotlib was given, and from the files."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from slicer_core.errors import UsageError
from slicer_core.figures import VIEWS, FigureStyle, Labeled, draw, save
from slicer_core.figures.contour import cell_edges
from slicer_core.figures.style import Quantity, color_limits, contour_levels, describe, plain
from slicer_core.slices import Axis, Center, Curve, Marker, Slice, SliceArray


def loss(values: Any, role: Any = "value", name: str = "loss") -> SliceArray:
    return SliceArray(name=name, split="train", role=role, values=np.asarray(values, dtype=np.float32))


def curve(values: Any, **others: Any) -> Slice:
    axis = Axis(name="alpha", label="α", values=np.linspace(-0.5, 1.5, len(values)))
    arrays = (loss(values), loss(np.full(len(values), 0.1), "stderr"))
    return Slice(slice_type="linear_interpolation", geometry="curve", axes=(axis,), arrays=arrays, **others)


def grid(values: Any, **others: Any) -> Slice:
    shape = np.shape(values)
    axes = tuple(Axis(name=f"a{i}", label=f"direction {i}", values=np.linspace(0, i + 1, shape[i])) for i in (0, 1))
    return Slice(slice_type="random_direction_2d", geometry="grid", axes=axes, arrays=(loss(values),), **others)


def family(count: int) -> Slice:
    axis = Axis(name="alpha", label="offset", values=np.linspace(-1, 1, 5))
    curves = tuple(Curve(name=f"layer.weight[{i}]", layer="layer", center=float(i)) for i in range(count))
    values = np.arange(5.0 * count).reshape(count, 5) + 1
    return Slice(slice_type="axis_parallel", geometry="curves", axes=(axis,), arrays=(loss(values),), curves=curves)


def one(data: Slice, label: str = "run") -> list[Labeled]:
    return [Labeled(label=label, data=data)]


BOWL = np.add.outer(np.arange(7.0) ** 2, 3 * np.arange(4.0)) + 1


def test_a_heat_map_has_each_value_at_its_own_coordinates():
    axes: Any = draw(one(grid(BOWL))).axes[0]
    (mesh,) = axes.collections[:1]

    np.testing.assert_array_equal(np.ma.getdata(mesh.get_array()).reshape(4, 7), BOWL.T.astype(np.float32))
    corners = mesh.get_coordinates()
    assert corners[0, 0].tolist() == [cell_edges(np.linspace(0, 1, 7))[0], cell_edges(np.linspace(0, 2, 4))[0]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("direction 0", "direction 1")


def test_a_curve_is_drawn_through_its_values_with_a_band_of_one_standard_error():
    data = curve([4.0, 1.0, 3.0])
    axes: Any = draw(one(data)).axes[0]

    np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.stack([data.axes[0].values, [4.0, 1.0, 3.0]], axis=1))
    band = axes.collections[0].get_paths()[0].get_extents()
    assert band.y0 == pytest.approx(0.9)
    assert band.y1 == pytest.approx(4.1)


def test_points_that_are_not_finite_are_gaps_with_a_cross_below():
    axes: Any = draw(one(curve([4.0, np.nan, 3.0, np.inf, 2.0]))).axes[0]

    drawn = axes.lines[0].get_ydata()
    np.testing.assert_array_equal(np.isnan(drawn), [False, True, False, True, False])
    np.testing.assert_array_equal(axes.lines[1].get_xdata(), [0.0, 1.0])


def test_points_of_a_family_that_are_not_finite_have_a_cross_below():
    data = family(2)
    values = data.loss.copy()
    values[1, :2] = np.nan
    first, second = draw(one(replace(data, arrays=(loss(values),)))).axes[:2]
    assert len(first.lines) == 1
    np.testing.assert_array_equal(second.lines[1].get_xdata(), [-1.0, -0.5])


def test_cells_that_are_not_finite_are_masked_and_counted():
    values = BOWL.copy()
    values[2, 1], values[3, 3] = np.nan, -np.inf
    axes: Any = draw(one(grid(values))).axes[0]

    mask = np.ma.getmaskarray(axes.collections[0].get_array()).reshape(4, 7).T
    np.testing.assert_array_equal(np.argwhere(mask), [[2, 1], [3, 3]])
    assert "2 not finite" in axes.texts[0].get_text()


def test_a_center_that_is_no_number_is_written_as_everywhere():
    axes: Any = draw(one(grid(BOWL, center=Center(loss={"train": np.nan})))).axes[0]
    assert axes.texts[0].get_text() == "center NaN"


def test_a_grid_without_a_finite_value_says_so():
    axes: Any = draw(one(grid(np.full((3, 3), np.nan)))).axes[0]
    assert "no finite value" in [text.get_text() for text in axes.texts]


def test_a_provisional_slice_says_what_is_filled():
    axes: Any = draw(one(grid(BOWL, status="provisional", filled=0.25))).axes[0]
    assert "provisional, 25% filled" in axes.texts[0].get_text()


def test_interpolated_cells_are_counted():
    marks = np.zeros((7, 4))
    marks[:, 0] = 1
    data = replace(grid(BOWL), arrays=(loss(BOWL), loss(marks, "interpolated")))
    axes: Any = draw(one(data)).axes[0]
    assert "25% interpolated" in axes.texts[0].get_text()


@pytest.mark.parametrize("view", [name for name, view in VIEWS.items() if view.geometry == "grid"])
def test_markers_paths_and_one_point_axes_are_drawn_or_refused(view: str):
    path = {"steps": [0, 5, 9], "coordinates": [[0, 0], [0.5, 1], [1, 2]], "residuals": [1.0, 0.5, 0.0]}
    data = grid(BOWL, trajectory=path, markers=(Marker(name="end", coordinates=(1.0, 2.0)),))
    assert save(draw(one(data), view=view), "png").startswith(b"\x89PNG")
    single = grid([[2.0]], trajectory=path)
    if view == "surface":
        with pytest.raises(UsageError, match="--view contour"):
            draw(one(single), view=view)
    else:
        assert draw(one(single), view=view).axes


@pytest.mark.parametrize("width", [3.5, 4.0, 6.4])
@pytest.mark.parametrize("labels", [("first towards middle", "last"), ("component 1 (93.1 %)", "component 2 (5.7 %)")])
def test_long_labels_of_a_surface_are_within_the_figure(width: float, labels: tuple[str, str]):
    data = grid(BOWL)
    axes = tuple(replace(axis, label=f"distance of {own}") for axis, own in zip(data.axes, labels, strict=True))
    figure = draw(one(replace(data, axes=axes)), view="surface", style=FigureStyle(width=width))
    pixels = imread(BytesIO(save(figure, "png")))[:, :, :3]
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 1).all()


def test_the_path_goes_through_the_checkpoints_coordinates():
    path = {"steps": [0, 5, 9], "coordinates": [[0, 0], [0.5, 1], [1, 2]], "residuals": [1.0, 0.5, 0.0]}
    figure = draw(one(grid(BOWL, trajectory=path)), view="trajectory")
    drawn = [np.asarray(line.get_xydata()).tolist() for line in figure.axes[0].lines]
    assert [[0, 0], [0.5, 1], [1, 2]] in drawn
    (residuals,) = [axes for axes in figure.axes if axes.get_ylabel().startswith("distance")]
    assert np.asarray(residuals.lines[0].get_xydata()).tolist() == [[0, 1.0], [5, 0.5], [9, 0.0]]


def test_several_curves_share_one_figure_and_other_views_refuse_them():
    entries = [Labeled(label=f"step {step}", data=curve([step + 1.0, 2.0])) for step in range(20)]
    figure = draw(entries)
    assert len([line for line in figure.axes[0].lines if len(np.asarray(line.get_xdata())) == 2]) >= 20
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert len(labels) == 12
    assert (labels[0], labels[-1]) == ("step 0", "step 19")
    with pytest.raises(UsageError, match="2 are given"):
        draw([*one(grid(BOWL)), *one(grid(BOWL))])


def test_a_family_shows_at_most_48_curves_and_says_so():
    figure = draw(one(family(60)))
    assert sum(axes.get_visible() for axes in figure.axes) == 48
    assert "48 of 60 shown" in figure.get_suptitle()
    few = draw(one(family(2)))
    np.testing.assert_array_equal(np.asarray(few.axes[1].lines[0].get_ydata()), [6, 7, 8, 9, 10])


def test_a_view_of_another_geometry_is_refused_with_those_that_fit():
    with pytest.raises(UsageError, match="give one of contour, surface, trajectory"):
        draw(one(grid(BOWL)), view="curve")
    with pytest.raises(UsageError, match="is not one of curve"):
        draw(one(grid(BOWL)), view="pie")
    with pytest.raises(UsageError, match="no path of checkpoints"):
        draw(one(grid(BOWL)), view="trajectory")
    with pytest.raises(UsageError, match="no array 'accuracy'"):
        draw(one(grid(BOWL)), quantity=Quantity(name="accuracy"))


def test_a_logarithm_of_what_is_not_positive_is_refused():
    with pytest.raises(UsageError, match="needs positive"):
        draw(one(grid(BOWL - 5)), style=FigureStyle(scale="log"))


def test_a_loss_that_explodes_at_a_corner_does_not_flatten_the_rest():
    values = np.append(np.linspace(1, 2, 99), 1e6)
    low, high = color_limits(values, name="loss", log=False)
    assert (low, high) == (1.0, 2.0)
    assert color_limits(values, name="accuracy", log=False) == (1.0, 1e6)
    assert color_limits(np.array([1.0, np.nan, 3.0]), name="loss", log=False) == (1.0, 3.0)
    # Flat but for rounding is no reach that a little rise would explode from.
    nearly_flat = np.array([0.5, 0.5 + 1e-12] * 9 + [0.51, 0.52])
    assert color_limits(nearly_flat, name="loss", log=False) == (0.5, 0.52)


def test_levels_are_spaced_like_the_scale_or_are_those_given():
    np.testing.assert_allclose(contour_levels(FigureStyle(levels=3), (0.0, 4.0), log=False), [1, 2, 3])
    np.testing.assert_allclose(contour_levels(FigureStyle(levels=3), (0.13, 3.94), log=False), [1, 2, 3])
    np.testing.assert_allclose(contour_levels(FigureStyle(levels=3), (1.0, 1e4), log=True), [10, 100, 1000])
    assert contour_levels(FigureStyle(levels=0), (0.0, 4.0), log=False).size == 0
    assert contour_levels(FigureStyle(levels=(5.0, 1.0)), (0.0, 9.0), log=False).tolist() == [1.0, 5.0]
    assert contour_levels(FigureStyle(), (2.0, 2.0), log=False).size == 0


@pytest.mark.parametrize(
    "bad",
    [{"width": 0.0}, {"height": 99.0}, {"font_size": 1.0}, {"levels": -1}, {"scale": "cubic"}, {"color_map": "jet"}],
)
def test_a_look_that_can_not_be_drawn_is_refused(bad: dict[str, Any]):
    with pytest.raises(UsageError, match="--"):
        FigureStyle(**bad)


def test_a_figure_has_the_size_that_was_asked_for():
    style = FigureStyle(width=3.0, height=2.0, dots_per_inch=100.0)
    png = save(draw(one(curve([1.0, 2.0])), style=style), "png", style)
    assert struct.unpack(">II", png[16:24]) == (300, 200)


@pytest.mark.parametrize("file_format", ["svg", "png", "pdf"])
def test_the_same_slice_gives_the_same_file(file_format: str):
    first, again = (save(draw(one(grid(BOWL))), file_format) for _ in range(2))
    assert first == again


def test_names_are_text_and_never_mathematics_or_markup():
    name = "<script>$x_{$\x1b[31m\u202e" + "a" * 5000
    svg = save(draw(one(curve([1.0, 2.0]), name)), "svg").decode()
    assert "<script" not in svg
    assert "\x1b" not in svg
    assert len(plain(name)) <= 100
    assert len(plain("名" * 400)) <= 50


def test_the_center_and_the_samples_are_told():
    center = Center(loss={"train": 1.25})
    axes: Any = draw(one(grid(BOWL, center=center, evaluation={"samples": {"train": 1438}}))).axes[0]
    assert axes.texts[0].get_text() == "center 1.25 · 1,438 samples"


def test_without_matplotlib_the_extra_is_named():
    code = (
        "import sys; sys.modules['matplotlib.figure'] = None\n"
        "import numpy as np\n"
        "from slicer_core.slices import Axis, Slice, SliceArray\n"
        "from slicer_core.figures import Labeled, draw\n"
        "axis = Axis(name='a', label='a', values=np.arange(2.0))\n"
        "array = SliceArray(name='loss', split='train', role='value', values=np.arange(2.0))\n"
        "data = Slice(slice_type='gradient_1d', geometry='curve', axes=(axis,), arrays=(array,))\n"
        "draw([Labeled(label='a', data=data)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UsageError: figures need matplotlib" in done.stderr
    assert "tensorboard-loss-slicer[plot]" in done.stderr


def test_a_curve_with_repeats_has_their_mean_between_the_lowest_and_the_highest():
    values = np.array([3.0, 1.0, 4.0])
    bands = {"loss_mean": values + 1, "loss_low": values - 0.5, "loss_high": np.array([6.0, 5.0, np.nan])}
    plain_curve = curve(values)
    data = replace(plain_curve, arrays=(*plain_curve.arrays, *(loss(band, name=name) for name, band in bands.items())))
    axes: Any = draw(one(data)).axes[0]

    np.testing.assert_array_equal(axes.lines[1].get_ydata(), values + 1)
    assert len(draw(one(plain_curve)).axes[0].collections) == 1
    _, band = axes.collections
    extent = band.get_paths()[0].get_extents()
    # Where an end is not finite there is no band.
    assert (extent.x0, extent.x1, extent.y0, extent.y1) == (-0.5, 0.5, 0.5, 6.0)


@pytest.mark.parametrize("view", ["contour", "surface", "curve", "family"])
def test_the_largest_numbers_beside_large_negative_ones_are_drawn_as_far_as_they_can_be(view: str):
    values = np.linspace(-1.5e308, 0, 12).reshape(3, 4)
    values[1, 1] = 1e308
    array = SliceArray(name="loss", split="train", role="value", values=values.ravel() if view == "curve" else values)
    shape = {"curve": curve(np.zeros(12)), "family": family(3)}.get(view, grid(np.zeros((3, 4))))
    axes = shape.axes if view != "family" else (replace(shape.axes[0], values=np.linspace(-1, 1, 4)),)
    entry = one(replace(shape, axes=axes, arrays=(array,)))
    assert save(draw(entry, view=view), "png").startswith(b"\x89PNG")
    assert describe(entry[0].data, Quantity()) == "11 cut off at ±1e290"
    assert values.max() == 1e308
