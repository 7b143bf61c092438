"""The views as a person uses them: values read off the page are the log's, downloaded pictures are opened."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Board, Tab

ADAM = '["resnet20-adam/loss_slicer"]'
BOTH = '["resnet20-adam/loss_slicer","resnet20-sgd/loss_slicer"]'
MEASURED = '["measured"]'
SVG = "{http://www.w3.org/2000/svg}"


def number(text: str) -> float:
    """A number of the page, which writes a true minus."""
    return float(text.replace("\u2212", "-").replace(",", ""))


def seven_digits(value: float) -> float:
    return float(f"{value:.7g}")


def test_a_drawn_cut_shows_the_logs_values_between_the_points(
    open_page: Callable[..., Tab], board: Board, make_log: Any
) -> None:
    tab = open_page(board, runs=ADAM, method="random_direction_2d", filter="filter-normalized", cut="-1,-0.5,1,1")
    tab.hover(tab.frame.get_by_test_id("cut").get_by_test_id("plot"), 0.6, 0.5)
    shown = tab.readout()
    (label,) = [name for name in shown if name.startswith("along the cut")]
    share = number(shown[label])
    data = make_log.grid(2000)
    x, y, values = data.axes[0].values, data.axes[1].values, data.loss
    i, j = int((share * 2) / 0.04), int((share * 1.5) / 0.0375)
    s, t = (-1 + 2 * share - x[i]) / 0.04, (-0.5 + 1.5 * share - y[j]) / 0.0375
    cell = values[i : i + 2, j : j + 2]
    expected = np.array([1 - s, s]) @ cell @ np.array([1 - t, t])
    assert number(shown["loss (train)"]) == pytest.approx(expected, rel=2e-6)

    tab.frame.get_by_label("Remove the cut").click()
    tab.page.wait_for_function("!location.hash.includes('cut=')")
    assert tab.frame.get_by_test_id("cut").count() == 0
    tab.frame.get_by_label("Draw a cut").click()
    tab.hover(tab.frame.get_by_test_id("cut-area"), 0.25, 0.5)
    tab.page.mouse.down()
    tab.hover(tab.frame.get_by_test_id("cut-area"), 0.75, 0.5)
    tab.page.mouse.up()
    tab.frame.get_by_test_id("cut").wait_for()
    tab.page.wait_for_function("location.hash.includes('cut=')")
    start, _, end, _ = map(float, tab.hash.split("cut=")[1].split("&")[0].split("%2C"))
    assert (start, end) == pytest.approx((-0.51, 0.51), abs=0.02)


def test_plots_with_the_same_axes_zoom_and_point_together(
    open_page: Callable[..., Tab], board: Board, make_log: Any
) -> None:
    tab = open_page(board, runs=BOTH, method="random_direction_2d", filter="filter-normalized", width=1500)
    plots = tab.frame.get_by_test_id("plot")
    tab.frame.wait_for_function("document.querySelectorAll('[data-testid=plot] canvas').length === 2")
    tab.hover(plots.nth(0).locator("canvas"), 0.3, 0.4)
    own = tab.readout()
    linked = plots.nth(1).get_by_test_id("readout-linked")
    values = dict(zip(linked.locator("dt").all_inner_texts(), linked.locator("dd").all_inner_texts(), strict=True))
    assert values["direction 1 (α₁)"] == own["direction 1 (α₁)"]
    data = make_log.grid(4000)
    i = int(np.abs(data.axes[0].values - number(own["direction 1 (α₁)"])).argmin())
    j = int(np.abs(data.axes[1].values - number(own["direction 2 (α₂)"])).argmin())
    assert number(values["loss (train)"].split(" ± ")[0]) == seven_digits(data.loss[i, j])

    ticks = "plot => [...plot.querySelectorAll('svg[data-figure] text')].map(text => text.textContent)"
    before = plots.nth(1).evaluate(ticks)
    plots.nth(0).focus()
    tab.page.keyboard.press("+")
    tab.frame.wait_for_function(
        "before => JSON.stringify([...document.querySelectorAll('[data-testid=plot]')[1]"
        ".querySelectorAll('svg[data-figure] text')].map(t => t.textContent)) !== before",
        arg=str(before).replace("'", '"'),
    )
    tab.frame.get_by_label("Reset zoom").nth(1).click()
    assert plots.nth(0).evaluate(ticks)[:4] == before[:4]


def test_a_link_restores_what_was_zoomed_to(open_page: Callable[..., Tab], board: Board) -> None:
    view = {"runs": ADAM, "method": "random_direction_2d", "filter": "filter-normalized"}
    tab = open_page(board, **view)
    ticks = "plot => [...plot.querySelectorAll('svg[data-figure] text')].map(text => text.textContent)"
    plot = tab.frame.get_by_test_id("plot")
    whole = plot.evaluate(ticks)
    plot.focus()
    for key in ("+", "+", "Shift+ArrowRight"):
        before = tab.hash
        tab.page.keyboard.press(key)
        tab.page.wait_for_function("before => location.hash !== before", arg=before)
    zoomed = plot.evaluate(ticks)
    assert zoomed != whole
    (zooms,) = [part.split("=")[1] for part in tab.hash.split("&") if part.startswith("p.loss_slicer.zooms=")]
    other = open_page(board, **view, zooms=unquote(zooms))
    other.frame.wait_for_function(
        "texts => JSON.stringify([...document.querySelectorAll('[data-testid=plot] svg[data-figure] text')]"
        ".map(text => text.textContent)) === texts",
        arg=json.dumps(zoomed, separators=(",", ":"), ensure_ascii=False),
    )
    other.frame.get_by_label("Reset zoom").click()
    other.page.wait_for_function("!location.hash.includes('zooms=')")
    assert other.frame.get_by_test_id("plot").evaluate(ticks) == whole


def test_several_directions_are_a_band_with_their_mean(
    open_page: Callable[..., Tab], board: Board, make_log: Any
) -> None:
    tab = open_page(board, runs=MEASURED, method="random_direction_1d")
    card = tab.card("repeated")
    card.get_by_test_id("spread").wait_for()
    card.get_by_text("from the lowest to the highest of 4 directions").wait_for()
    plot = card.get_by_test_id("plot")
    plot.focus()
    for _ in range(3):
        tab.page.keyboard.press("ArrowRight")
    shown = tab.readout()
    data = make_log.repeated()
    at = int(np.abs(data.axes[0].values - number(shown["α"])).argmin())
    assert number(shown["loss (train)"]) == seven_digits(data.array("loss", "train")[at])
    assert number(shown["all directions, mean"]) == seven_digits(data.array("loss_mean", "train")[at])
    ends = [number(text) for text in shown["lowest to highest"].split(" to ")]
    assert ends == [seven_digits(data.array(name, "train")[at]) for name in ("loss_low", "loss_high")]


def test_runs_and_steps_are_overlaid_in_one_plot(open_page: Callable[..., Tab], board: Board, make_log: Any) -> None:
    tab = open_page(
        board, runs=BOTH, method="linear_interpolation", filter="to-last", overlay="true", smoothing="2", metric="loss"
    )
    assert tab.frame.get_by_test_id("slice-card").count() == 1
    card = tab.card("path/to-last")
    card.get_by_text("Faint lines: 3 other steps, from 0 to 1,000.").wait_for()
    assert card.get_by_test_id("ghost").count() == 3
    assert card.get_by_test_id("line").count() == 2
    assert card.get_by_test_id("raw").count() == 2
    tab.hover(card.get_by_test_id("plot"), 0.5, 0.6)
    shown = tab.readout()
    at = int(np.abs(make_log.curve(0).axes[0].values - number(shown["α"])).argmin())
    found = {label: number(value.split(" ± ")[0]) for label, value in shown.items() if label != "α"}
    assert sorted(found.values()) == sorted(
        seven_digits(make_log.curve(step).array("loss", "train")[at]) for step in (2000, 4000)
    )


def test_measures_over_steps_are_the_headers(open_page: Callable[..., Tab], board: Board, make_log: Any) -> None:
    tab = open_page(board, runs=MEASURED, method="random_direction_2d", filter="plane", display="steps")
    table = tab.frame.get_by_test_id("evolution").locator("table")
    table.wait_for()
    names = table.locator("thead th").all_inner_texts()
    rows = [row.locator("th, td").all_inner_texts() for row in table.locator("tbody tr").all()]
    assert [number(row[0]) for row in rows] == [0, 100, 200]
    sharpness = [row[names.index("epsilon sharpness")] for row in rows]
    measures = [make_log.measured_grid(step).measures["epsilon_sharpness"] for step in (0, 100, 200)]
    assert [number(text.split(" ± ")[0]) for text in sharpness] == [
        float(f"{measure.value:.5g}") for measure in measures
    ]
    tab.frame.get_by_role("combobox", name="Measure").click()
    tab.frame.get_by_role("option", name="epsilon sharpness").click()
    tab.frame.get_by_test_id("plot").focus()
    tab.page.keyboard.press("ArrowRight")
    assert number(tab.readout()["measured"].split(" ± ")[0]) == seven_digits(measures[0].value)


@pytest.mark.parametrize(
    ("runs", "tag", "ticks"), [(MEASURED, "line", ["0"]), ('["epochs"]', "line", ["0", "1", "2", "3"])]
)
def test_an_axis_of_steps_has_whole_numbers_alone(
    open_page: Callable[..., Tab], board: Board, runs: str, tag: str, ticks: list[str]
) -> None:
    tab = open_page(board, runs=runs, method="linear_interpolation", filter=f"^{tag}$", display="steps")
    below = tab.frame.get_by_test_id("evolution").locator("svg[data-figure] text[text-anchor=middle][y]")
    shown = below.all_text_contents()
    unit = shown.index("step" if runs == MEASURED else "epoch")
    assert shown[:unit] == ticks


def test_what_is_counted_in_epochs_is_never_called_a_step(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs='["epochs"]', method="linear_interpolation")
    card = tab.card("line")
    card.get_by_text("Faint lines: 1 other epoch, from 0 to 0.").wait_for()
    assert card.get_by_test_id("plot").get_attribute("aria-label") == "loss (train) along α, epoch 3"
    with tab.page.expect_download() as download:
        tab.save("SVG")
    assert "· epoch 3</text>" in download.value.path().read_text()
    tab.frame.get_by_role("button", name="Over steps").click()
    evolution = tab.frame.get_by_test_id("evolution")
    evolution.wait_for()
    assert evolution.locator("thead th").first.inner_text() == "epoch"
    assert {"epoch", "epoch 3"} <= set(evolution.locator("svg text").all_text_contents())

    tab = open_page(board, runs='["epochs"]', method="pca_2d")
    card = tab.card("way")
    card.locator("canvas").wait_for()
    assert "epoch 0" in card.locator("svg text").all_text_contents()
    assert not any(text.startswith("step") for text in card.locator("svg text").all_text_contents())


def test_measures_that_can_not_be_read_say_so_and_can_be_tried_again(
    open_page: Callable[..., Tab], board: Board
) -> None:
    tab = open_page(board, runs=MEASURED, method="random_direction_2d", filter="plane")
    tab.page.route("**/batch*", lambda route: route.abort())
    tab.frame.get_by_role("button", name="Over steps").click()
    tab.frame.get_by_role("button", name="Try again").wait_for()
    tab.page.unroute("**/batch*")
    tab.frame.get_by_role("button", name="Try again").click()
    tab.frame.get_by_test_id("evolution").wait_for()
    # The browser reports each request that failed.
    assert all("ERR_FAILED" in problem for problem in tab.problems)
    tab.problems.clear()


def test_measures_of_a_compared_slice_need_no_card(open_page: Callable[..., Tab], board: Board) -> None:
    compared = '[["measured","plane",0],["measured","plane",200]]'
    wait = "[data-testid=evolution]"
    tab = open_page(board, filter="none", compared=compared, comparing="true", display="steps", wait=wait)
    assert tab.frame.get_by_test_id("evolution").count() == 2


def test_cells_like_the_center_and_interpolated_ones_are_marked(
    open_page: Callable[..., Tab], board: Board, make_log: Any
) -> None:
    tab = open_page(board, runs=MEASURED, method="random_direction_2d", filter="plane", step="200")
    card = tab.card("plane")
    card.get_by_text("Lined cells differ from the center by less than 2 standard errors").wait_for()
    card.get_by_text("Dots mark interpolated cells.").wait_for()
    data = make_log.measured_grid(200)
    loss, error = data.loss, data.array("loss", "train", "difference_stderr")
    center = loss[10, 8]
    like = np.abs(loss - center) < 2 * error
    like[10, 8] = True
    canvas = card.locator("canvas")
    for i, j in ((11, 8), (0, 0), (10, 8)):
        tab.hover(canvas, (i + 0.5) / 21, 1 - (j + 0.5) / 17)
        shown = tab.readout()
        assert number(shown["loss (train)"].split(" ± ")[0]) == seven_digits(loss[i, j])
        assert ("difference to the center" in shown) == bool(like[i, j])
        assert ("interpolated" in shown) == bool(data.array("loss", "train", "interpolated")[i, j])
    tab.frame.get_by_label("Mark cells like the center").click()
    card.get_by_text("Lined cells").wait_for(state="detached")


def test_one_range_for_all_steps_keeps_the_color_bar_still(open_page: Callable[..., Tab], board: Board) -> None:
    texts = """card => [...card.querySelectorAll('svg[data-figure] text')]
        .filter(text => !text.closest('[data-testid=contour-labels]'))
        .map(text => text.textContent)"""
    tabs = [
        open_page(board, runs=MEASURED, method="random_direction_2d", filter="plane", step=step, limits="all")
        for step in ("0", "200")
    ]
    for tab in tabs:
        # Until all steps are read, it is the range of those that are.
        tab.card("plane").get_by_text("Not all steps and runs are in this range yet.").wait_for(state="detached")
    bars = [tab.card("plane").evaluate(texts) for tab in tabs]
    assert bars[0] == bars[1]
    assert "loss (train)" in bars[0]
    tab = tabs[1]
    tab.frame.get_by_label("Same range for all steps and runs").click()
    tab.frame.wait_for_function(
        "before => JSON.stringify([...document.querySelectorAll('article svg[data-figure] text')]"
        ".map(t => t.textContent)) !== before",
        arg=str(bars[1]).replace("'", '"'),
    )


def test_an_svg_has_its_contours_as_lines_and_a_png_its_scale(
    open_page: Callable[..., Tab], board: Board, tmp_path: Path
) -> None:
    tab = open_page(board, runs=MEASURED, method="random_direction_2d", filter="large", at="0.5, 1, 2, 99")
    requests: list[str] = []
    card = tab.card("large")
    tab.page.on("request", lambda request: requests.append(request.url))
    with tab.page.expect_download() as download:
        tab.save("SVG")
    tree = ET.parse(download.value.path())
    texts = {"".join(element.itertext()) for element in tree.iter(f"{SVG}text")}
    assert {"large", "direction 1 (α₁)", "direction 2 (α₂)", "loss (train)"} <= texts
    (image,) = tree.iter(f"{SVG}image")
    assert image.get("href", "").startswith("data:image/png;base64,")
    contours = [path for path in tree.iter(f"{SVG}path") if (path.get("stroke") or "").startswith("rgba(")]
    assert len(contours) == 3
    assert all(len(path.get("d") or "") > 100 for path in contours)
    assert not list(tree.iter(f"{SVG}script"))
    sizes = []
    for scale in (1, 4):
        with tab.page.expect_download() as download:
            tab.save(f"PNG, {scale}×")
        sizes.append(Image.open(download.value.path()).size)
    assert sizes[1] == pytest.approx((4 * sizes[0][0], 4 * sizes[0][1]), abs=4)
    assert card.get_by_test_id("plot").count() == 1


def test_families_are_sorted_by_curvature(open_page: Callable[..., Tab], board: Board, make_log: Any) -> None:
    tab = open_page(board, runs=ADAM, method="axis_parallel", sort="curvature")
    data = make_log.family(2000)
    offsets = data.axes[0].values
    middle, step = len(offsets) // 2, offsets[1] - offsets[0]
    bends = np.abs(data.loss[:, middle - 1] - 2 * data.loss[:, middle] + data.loss[:, middle + 1]) / step**2
    order = np.argsort(-bends)
    first = tab.frame.get_by_test_id("tile").nth(0).get_by_role("button").get_attribute("title")
    third = tab.frame.get_by_test_id("tile").nth(2).get_by_role("button").get_attribute("title")
    assert (first, third) == (data.curves[order[0]].name, data.curves[order[2]].name)


def test_both_ends_of_a_line_and_the_shares_of_layers_are_told(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=MEASURED, method="linear_interpolation")
    ends = tab.frame.get_by_test_id("ends")
    assert "cosine of the ends 0.25" in ends.inner_text()
    ends.get_by_text("Share of ‖Δθ‖² by layer").click()
    rows = [row.locator("td").all_inner_texts()[:2] for row in ends.locator("tbody tr").all()]
    assert rows == [["conv1", "75 %"], ["fc", "25 %"]]


def test_a_difference_map_is_the_second_minus_the_first(
    open_page: Callable[..., Tab], board: Board, make_log: Any
) -> None:
    runs = [["resnet20-adam/loss_slicer", "landscape/filter-normalized", step] for step in (2000, 500)]
    tab = open_page(
        board,
        runs=ADAM,
        method="random_direction_2d",
        filter="filter-normalized",
        compared=json.dumps(runs),
        comparing="true",
    )
    difference = tab.frame.get_by_test_id("difference")
    difference.locator("canvas").wait_for()
    tab.hover(difference.locator("canvas"), 0.3, 0.7)
    shown = tab.readout()
    first, second = make_log.grid(2000), make_log.grid(500)
    i = int(np.abs(first.axes[0].values - number(shown["direction 1 (α₁)"])).argmin())
    j = int(np.abs(first.axes[1].values - number(shown["direction 2 (α₂)"])).argmin())
    expected = second.loss[i, j] - first.loss[i, j]
    value, error = (number(text) for text in shown["difference of loss (train)"].split(" ± "))
    assert value == pytest.approx(expected, rel=2e-6)
    errors = [data.array("loss", "train", "stderr")[i, j] for data in (first, second)]
    assert error == pytest.approx(np.hypot(*errors), rel=0.01)
    assert "as if independent" in difference.inner_text()
    like = next((label for label in shown if label.startswith("difference to")), "")
    assert bool(like) == (abs(expected) < 2 * np.hypot(*errors))
    # The same place is read in both maps that are compared.
    sides = tab.frame.get_by_test_id("compared").locator("[data-testid=readout-linked]")
    assert sides.count() == 2
