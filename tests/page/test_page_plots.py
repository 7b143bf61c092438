"""The plots: right numbers under the pointer, steps, zoom, keys, pictures, awkward slices."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board, Tab

ADAM = '["resnet20-adam/loss_slicer"]'


def number(text: str) -> float:
    """A number of the page, which writes a true minus."""
    return float(text.replace("\u2212", "-").replace(",", ""))


def seven_digits(value: float) -> float:
    return float(f"{value:.7g}")


@pytest.mark.parametrize(("across", "down"), [(0.3, 0.2), (0.55, 0.7), (0.8, 0.45)])
def test_the_value_under_the_pointer_is_the_logs_on_a_grid_that_is_not_square(
    open_page: Callable[..., Tab], board: Board, make_log: Any, across: float, down: float
) -> None:
    tab = open_page(board, runs=ADAM, method="random_direction_2d", filter="filter-normalized")
    data = make_log.grid(2000)
    canvas = tab.card("landscape/filter-normalized").locator("canvas")
    tab.hover(canvas, across, down)
    shown = tab.readout()
    first, second = number(shown["direction 1 (α₁)"]), number(shown["direction 2 (α₂)"])
    i = int(np.abs(data.axes[0].values - first).argmin())
    j = int(np.abs(data.axes[1].values - second).argmin())
    # Axis 0 goes across from -1 to 1, axis 1 goes up from -0.5 to 1, and each cell is as wide as its spacing.
    assert first == pytest.approx(-1.02 + 2.04 * across, abs=0.021)
    assert second == pytest.approx(1.01875 - 1.5375 * down, abs=0.02)
    value, error = shown["loss (train)"].split(" ± ")
    assert number(value) == seven_digits(data.array("loss", "train")[i, j])
    assert number(error) == pytest.approx(data.array("loss", "train", "stderr")[i, j], rel=0.05)


def test_the_value_under_the_pointer_is_the_logs_on_a_curve(
    open_page: Callable[..., Tab], board: Board, make_log: Any
) -> None:
    tab = open_page(board, runs=ADAM, method="linear_interpolation", filter="to-last", split="*")
    tab.hover(tab.card("path/to-last").get_by_test_id("plot"), 0.4, 0.5)
    shown = tab.readout()
    data = make_log.curve(2000)
    at = int(np.abs(data.axes[0].values - number(shown["α"])).argmin())
    for split in ("train", "test"):
        value, error = shown[f"loss ({split})"].split(" ± ")
        assert number(value) == seven_digits(data.array("loss", split)[at])
        assert number(error) == pytest.approx(data.array("loss", split, "stderr")[at], rel=0.05)


def test_the_value_under_the_pointer_is_the_logs_on_a_small_multiple(
    open_page: Callable[..., Tab], board: Board, make_log: Any
) -> None:
    tab = open_page(board, runs=ADAM, method="axis_parallel", width=1600)
    tile = tab.frame.get_by_test_id("tile").nth(13)
    assert "layer1.0.conv2" in (tile.get_by_role("button").get_attribute("aria-label") or "")
    tab.hover(tile, 0.6, 0.6)
    found = re.fullmatch(r"(\S+): (\S+) ± \S+", tile.get_by_test_id("tile-readout").text_content() or "")
    assert found is not None
    offset, value = found.groups()
    data = make_log.family(2000)
    at = int(np.abs(data.axes[0].values - number(offset)).argmin())
    assert number(value) == float(f"{data.loss[13, at]:.5g}")


def test_the_step_slider_goes_through_all_steps_by_keys(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs='["many"]')
    slider = tab.frame.get_by_role("slider", name="Step")
    step = tab.frame.get_by_test_id("step")
    assert slider.get_attribute("aria-valuemax") == "129"
    assert step.inner_text().split() == ["step", "1,290", "130", "/", "130"]
    slider.focus()
    tab.page.keyboard.press("Home")
    assert step.inner_text().split() == ["step", "0", "1", "/", "130"]
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("ArrowRight")
    assert step.inner_text().split() == ["step", "20", "3", "/", "130"]
    tab.card("path").get_by_text("step 20", exact=True).wait_for()
    tab.page.keyboard.press("End")
    assert step.inner_text().split() == ["step", "1,290", "130", "/", "130"]


def test_each_step_shows_its_own_slice(open_page: Callable[..., Tab], board: Board, make_log: Any) -> None:
    tab = open_page(board, runs='["many"]', step="0")
    for step in (0, 640, 1290):
        tab.page.evaluate(
            "step => { location.hash = `loss_slicer&p.loss_slicer.runs=%5B%22many%22%5D&p.loss_slicer.step=${step}` }",
            step,
        )
        low = make_log.curve(step, 21).loss.min()
        tab.frame.get_by_text(f"Loss (train): {float(f'{low:.4g}'):g} to").wait_for()


def test_a_card_without_a_slice_at_the_step_shows_its_nearest_and_says_so(
    open_page: Callable[..., Tab], board: Board
) -> None:
    tab = open_page(board, runs='["many","resnet20-sgd/loss_slicer"]', method="linear_interpolation", step="-5")
    sgd = tab.frame.locator('article[aria-label="path/to-last, run resnet20-sgd/loss_slicer"]')
    sgd.get_by_text("no slice at step \u22125; shown is the nearest, 0").wait_for()
    # Its own steps around it are 1,000 and 2,000.
    tab.page.evaluate("location.hash = location.hash.replace('step=-5', 'step=1510')")
    sgd.get_by_text("step 2,000", exact=True).wait_for()


def test_zoom_by_wheel_and_keys_narrows_the_axes_and_resets(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=ADAM, method="random_direction_2d", filter="filter-normalized")
    plot = tab.card("landscape/filter-normalized").get_by_test_id("plot")
    whole = plot.locator("svg").text_content()
    tab.hover(plot, 0.5, 0.5)
    tab.page.keyboard.down("Control")
    tab.page.mouse.wheel(0, -400)
    tab.page.keyboard.up("Control")
    tab.frame.get_by_label("Reset zoom").click()
    assert plot.locator("svg").text_content() == whole
    plot.focus()
    tab.page.keyboard.press("+")
    assert plot.locator("svg").text_content() != whole
    assert tab.frame.get_by_label("Reset zoom").is_enabled()
    tab.page.keyboard.press("0")
    assert plot.locator("svg").text_content() == whole


def test_the_plain_wheel_scrolls_the_page(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs='["awkward"]', method="random_direction_2d")
    tab.hover(tab.frame.locator("canvas").first, 0.5, 0.3)
    tab.page.mouse.wheel(0, 300)
    tab.frame.wait_for_function("document.querySelector('main').scrollTop > 100")
    assert tab.frame.get_by_label("Reset zoom").first.is_disabled()


def test_the_arrow_keys_read_a_plot_point_by_point(open_page: Callable[..., Tab], board: Board, make_log: Any) -> None:
    tab = open_page(board, runs=ADAM, method="linear_interpolation", filter="to-last")
    tab.card("path/to-last").get_by_test_id("plot").focus()
    data = make_log.curve(2000)
    for index in range(3):
        tab.page.keyboard.press("ArrowRight")
        shown = tab.readout()
        assert number(shown["α"]) == pytest.approx(data.axes[0].values[index])
        assert number(shown["loss (train)"].split(" ± ")[0]) == seven_digits(data.loss[index])
    tab.page.keyboard.press("Escape")
    assert tab.frame.get_by_test_id("readout").count() == 0


def test_an_exploding_corner_is_clipped_and_the_label_says_so(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=ADAM, method="random_direction_2d", filter="explodes")
    card = tab.card("landscape/explodes")
    assert "Clipped at" in card.inner_text()
    assert "the values reach 2212" in card.inner_text()
    tab.frame.get_by_label("Clip outliers").click()
    card.get_by_text("Clipped at").wait_for(state="detached")


def test_where_values_are_not_above_zero_a_logarithmic_scale_says_that_it_is_linear(
    open_page: Callable[..., Tab], board: Board
) -> None:
    said = "Linear, not logarithmic: not all values are above zero."
    view = {"runs": '["awkward"]', "method": "random_direction_2d", "filter": "grid/(zero|holes)"}
    tab = open_page(board, **view, scale="log", across="log")
    tab.card("grid/zero").get_by_text(said).wait_for()
    assert said not in tab.card("grid/holes").inner_text()
    tab.card("grid/zero").get_by_role("button", name="Surface").click()
    tab.card("grid/zero").get_by_text(said).wait_for()
    tab.frame.get_by_label("Filter tags").fill("gap")
    tab.frame.get_by_text("Linear interpolation").click()
    tab.card("curve/gap").get_by_text("13 points are not shown: logarithms end at zero.").wait_for()


def test_cells_that_are_not_finite_are_hatched_in_grey(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs='["awkward"]', method="random_direction_2d", filter="holes")
    card = tab.card("grid/holes")
    assert "137 values are not finite" in card.inner_text()
    # The patch around (-0.55, 0.6), as shares of the picture.
    across, up = (-0.55 + 1.02) / 2.04, (0.6 + 0.51875) / 1.5375
    picture = card.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    pixels = _decode(picture)
    x, y = int(across * pixels.shape[1]), int((1 - up) * pixels.shape[0])
    patch = pixels[y - 8 : y + 8, x - 8 : x + 8, :3].reshape(-1, 3)
    assert {tuple(int(channel) for channel in color) for color in patch} == {(232, 234, 237), (154, 160, 166)}


def test_points_that_are_not_finite_are_crosses_at_their_places(
    open_page: Callable[..., Tab], board: Board, start_board: Callable[..., Board], make_log: Any, tmp_path: Path
) -> None:
    tab = open_page(board, runs='["awkward"]', method="linear_interpolation", filter="gap")
    card = tab.card("curve/gap")
    assert "Crosses at the lower edge: values that are not finite." in card.inner_text()
    # Both at once: the page may still move them.
    crosses, plot = card.evaluate(
        """card => ["[data-testid=not-finite]", "rect[data-transient]"].map(
            name => card.querySelector(name).getBoundingClientRect().toJSON())"""
    )
    # Points 17 to 20 of 51, from -0.5 to 1.5, with a hundredth more at both ends; the box has room for strokes.
    first, last = ((point / 50 + 0.01) / 1.02 * plot["width"] + plot["x"] for point in (17, 20))
    assert crosses["x"] + crosses["width"] / 2 == pytest.approx((first + last) / 2, abs=1)
    assert last - first < crosses["width"] < last - first + 30
    assert crosses["y"] + crosses["height"] / 2 == pytest.approx(plot["y"] + plot["height"] - 4.5, abs=1)

    family = make_log.family(0, 6)
    loss = family.loss.copy()
    loss[2, :5] = np.nan
    loss[3] = np.inf
    make_log.write_run(tmp_path, "exp", [("some", 0, replace(family, arrays=tuple(make_log.arrays(loss))), "")])
    tab = open_page(start_board(tmp_path))
    tiles = tab.frame.get_by_test_id("tile")
    tiles.first.wait_for()
    assert [tile.get_by_test_id("not-finite").count() for tile in tiles.all()] == [0, 0, 1, 1, 0, 0]
    assert "Crosses at the lower edge" in tab.card("some").inner_text()


def test_a_picture_is_saved_with_title_axes_and_colors(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=ADAM, method="random_direction_2d", filter="filter-normalized")
    with tab.page.expect_download() as download:
        tab.save("PNG, 2×")
    assert re.fullmatch(r"landscape-filter-normalized-[a-z0-9-]*[0-9a-f]{8}\.png", download.value.suggested_filename)
    image = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    height, width, _ = image.shape
    assert width > 800
    assert height > 600
    dark_text = (image[:90].max(axis=2) < 80).sum()
    assert dark_text > 200, "no title"
    colored = image.max(axis=2) - image.min(axis=2) > 40
    assert colored.mean() > 0.3, "no heat map"
    yellow = np.array([253, 231, 37])
    bar = image[:, int(width * 0.86) :]
    assert (np.abs(bar - yellow).max(axis=2) < 6).any(), "no color bar"


def test_contour_lines_have_their_values_in_the_picture_and_in_what_is_saved(
    open_page: Callable[..., Tab], board: Board
) -> None:
    tab = open_page(board, runs=ADAM, method="pca_2d", spacing="ratio")
    card = tab.card("trajectory")
    labels = card.get_by_test_id("contour-labels").locator("text")
    labels.first.wait_for()
    texts = labels.all_text_contents()
    # The range is 0.1332142 to 3.812661, with ten levels at equal ratios.
    levels = [0.1332142 * (3.812661 / 0.1332142) ** (k / 11) for k in range(1, 11)]
    assert {number(text) for text in texts} <= {float(f"{level:.3g}") for level in levels}
    assert len(texts) > 8
    edge = card.locator("canvas").bounding_box()
    assert edge is not None
    boxes = [box for box in (label.bounding_box() for label in labels.all()) if box is not None]
    # A text's box is as high as letters are, and turned ones have a larger box around them.
    slack = 3
    for box in boxes:
        assert edge["x"] - slack < box["x"]
        assert edge["y"] - slack < box["y"]
        assert box["x"] + box["width"] < edge["x"] + edge["width"] + slack
        assert box["y"] + box["height"] < edge["y"] + edge["height"] + slack
    with tab.page.expect_download() as download:
        tab.save("SVG")
    saved = Path(download.value.path()).read_text()
    assert all(f">{text}</text>" in saved for text in texts)
    tab = open_page(board, runs=ADAM, method="pca_2d", levels="0")
    assert tab.card("trajectory").get_by_test_id("contour-labels").locator("text").count() == 0


def test_all_small_multiples_are_in_the_saved_picture(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=ADAM, method="axis_parallel", width=1600)
    with tab.page.expect_download() as download:
        tab.save("PNG, 2×")
    image = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    line = np.abs(image - np.array([21, 101, 192])).max(axis=2) < 12
    rows = 5
    band = image.shape[0] // (rows + 1)
    assert all(line[band * row + band // 2 : band * (row + 1) + band // 2].any() for row in range(rows))


def test_hundreds_of_curves_can_be_narrowed_and_enlarged(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs='["awkward"]', method="axis_parallel")
    tiles = tab.frame.get_by_test_id("tile")
    few = tiles.count()
    assert 10 < few < 80, "only what is in sight is drawn"
    assert "weight[0,0]" in tiles.first.inner_text()
    tab.frame.evaluate("document.querySelector('main').scrollTo(0, 1e6)")
    last = tab.frame.get_by_role("button", name="weight[399,1197]")
    last.wait_for()
    assert tiles.count() < 80
    tab.frame.get_by_label("Filter parameters").fill(r"fc\.weight\[3,")
    assert tiles.count() == 1
    tiles.first.get_by_role("button").click()
    dialog = tab.frame.get_by_role("dialog")
    assert dialog.get_by_test_id("plot").is_visible()
    tab.page.keyboard.press("Escape")
    assert dialog.count() == 0


def test_awkward_slices_are_all_drawn(open_page: Callable[..., Tab], board: Board) -> None:
    for method, count in (("linear_interpolation", 3), ("random_direction_2d", 8)):
        tab = open_page(board, runs='["awkward"]', method=method)
        tab.frame.wait_for_function("n => document.querySelectorAll('[data-testid=plot]').length === n", arg=count)
        assert tab.frame.get_by_role("alert").count() == 0


def test_a_descending_axis_is_drawn_ascending_with_its_own_values(
    open_page: Callable[..., Tab], board: Board, make_log: Any
) -> None:
    tab = open_page(board, runs='["awkward"]', method="random_direction_2d", filter="descending")
    tab.hover(tab.card("grid/descending").locator("canvas"), 0.05, 0.95)
    shown = tab.readout()
    data = make_log.grid(0, (7, 5))
    assert number(shown["descending"]) == -1
    # The log's axis runs from 1 to -1, so its last row of values is drawn first.
    assert number(shown["loss (train)"]) == seven_digits(data.loss[6, 0])


def test_only_methods_with_data_can_be_chosen(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs='["many"]')
    assert tab.frame.get_by_role("radio", name="Linear interpolation").is_enabled()
    assert tab.frame.get_by_role("radio", name="Axis parallel").is_disabled()
    assert tab.frame.get_by_role("radio", name="Principal components").count() == 0


def test_metric_and_split_can_be_chosen(open_page: Callable[..., Tab], board: Board, make_log: Any) -> None:
    tab = open_page(board, runs=ADAM, method="random_direction_2d", filter="filter-normalized")
    tab.frame.get_by_role("combobox", name="Split").click()
    tab.frame.get_by_role("option", name="Test").click()
    canvas = tab.card("landscape/filter-normalized").locator("canvas")
    tab.frame.get_by_text("Loss (test):").wait_for()
    tab.frame.get_by_role("combobox", name="Metric").click()
    tab.frame.get_by_role("option", name="accuracy").click()
    tab.frame.get_by_text("Accuracy (train):").wait_for()
    tab.hover(canvas, 0.5, 0.5)
    assert "accuracy (train)" in tab.readout()


def _decode(address: str) -> np.ndarray:
    import base64

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))))
