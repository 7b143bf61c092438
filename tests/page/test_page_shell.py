"""Choosing runs, tags and steps; pinning, widening and comparing cards; what a slice says of itself."""

from __future__ import annotations

import json
import re
import shlex
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Board, Tab

ADAM, SGD = "resnet20-adam/loss_slicer", "resnet20-sgd/loss_slicer"
BOTH = json.dumps([ADAM, SGD])
GRID = "landscape/filter-normalized"


@pytest.fixture(scope="module")
def large_board(
    start_lasting_board: Callable[..., Board], make_log: Any, tmp_path_factory: pytest.TempPathFactory
) -> Board:
    """500 runs × 200 tags: one slice each, all the same bytes."""
    logdir = tmp_path_factory.mktemp("large")
    make_log.large(logdir)
    return start_lasting_board(logdir, wait_seconds=120)


def step_of(tab: Tab, tag: str, run: str) -> str:
    card = tab.frame.locator(f'[data-testid="slice-card"][aria-label="{tag}, run {run}"]')
    return card.get_by_test_id("card-step").inner_text()


def test_runs_have_the_colors_of_tensorboards_own_charts(open_tab: Callable[..., Tab], board: Board) -> None:
    tab = open_tab(board, runs=BOTH, method="random_direction_2d")
    order = tab.page.evaluate("fetch('data/runs').then(reply => reply.json())")
    palette = [
        (66, 80, 102),
        (18, 181, 203),
        (229, 37, 146),
        (249, 171, 0),
        (147, 52, 230),
        (124, 179, 66),
        (232, 113, 10),
    ]
    for run in (ADAM, SGD):
        row = tab.frame.get_by_role("listitem").filter(has=tab.frame.get_by_label(f"Show run {run}"))
        wanted = palette[order.index(run) % 7]
        swatch = row.locator("span.rounded-full").first
        tab.frame.wait_for_function(
            "([element, color]) => getComputedStyle(element).backgroundColor === color",
            arg=[swatch.element_handle(), f"rgb{wanted}"],
        )


def test_a_step_between_a_runs_own_shows_its_nearest(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=BOTH, method="random_direction_2d", filter="filter-norm", step="1600")
    # Adam has 0, 500, 1000, 2000; SGD has 0, 1000, 2000, 4000.
    assert step_of(tab, GRID, ADAM) == "step 2,000"
    assert step_of(tab, GRID, SGD) == "step 2,000"
    tab.frame.get_by_label("Previous step").click()
    assert step_of(tab, GRID, ADAM) == step_of(tab, GRID, SGD) == "step 1,000"
    tab.page.keyboard.press("[")
    assert (step_of(tab, GRID, ADAM), step_of(tab, GRID, SGD)) == ("step 500", "step 0")


def test_playing_goes_through_every_step_and_stops_at_the_last(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(
        board, runs=json.dumps([ADAM]), method="linear_interpolation", filter="to-last", speed="8", step="0"
    )
    # The toolbar comes after the cards.
    tab.frame.get_by_test_id("step").wait_for()
    tab.frame.evaluate("""() => {
        window.seen = [];
        const output = document.querySelector('[data-testid=step]');
        new MutationObserver(() => window.seen.push(output.innerText.split(/\\s+/)[1]))
            .observe(output, {subtree: true, characterData: true, childList: true});
    }""")
    tab.frame.get_by_label("Play through the steps").click()
    tab.frame.get_by_label("Pause").wait_for()
    tab.frame.get_by_label("Play through the steps").wait_for()
    assert tab.frame.evaluate("[...new Set(window.seen)]") == ["500", "1,000", "2,000"]


def test_following_moves_to_new_steps_until_a_step_is_chosen(
    open_tab: Callable[..., Tab], start_board: Callable[..., Board], make_log: Any, tmp_path: Path
) -> None:
    make_log.write_run(tmp_path, "live", [("path", 0, make_log.curve(0), "")])
    tab = open_tab(start_board(tmp_path, "--reload_interval", "1"))
    tab.frame.get_by_label("Follow newest").click()
    make_log.write_run(tmp_path, "live", [("path", 10, make_log.curve(10), "")])
    step = tab.frame.get_by_test_id("step")
    for _ in range(60):
        tab.page.locator("app-header-reload button").click()
        tab.page.wait_for_timeout(300)
        if step.inner_text().split()[1] == "10":
            break
    assert step.inner_text().split() == ["step", "10", "2", "/", "2"]
    tab.frame.get_by_label("Previous step").click()
    assert tab.frame.get_by_label("Follow newest").get_attribute("aria-pressed") == "false"


def test_a_pinned_card_stands_first_whatever_is_chosen(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=json.dumps([ADAM]), method="random_direction_2d")
    tab.card(GRID).get_by_label("Pin").click()
    tab.frame.get_by_role("radio", name="Linear interpolation").click()
    tab.frame.get_by_label("Filter tags").fill("to-last")
    cards = tab.frame.get_by_test_id("slice-card")
    cards.nth(1).wait_for()
    assert [name.split(",")[0] for name in cards.evaluate_all("all => all.map(card => card.ariaLabel)")] == [
        GRID,
        "path/to-last",
    ]
    tab.page.wait_for_function("['pinned=', 'linear', 'to-last'].every(part => location.hash.includes(part))")
    again = open_page(board, **view_of(tab))
    assert again.card(GRID).get_by_label("Pin").get_attribute("aria-pressed") == "true"


def view_of(tab: Tab) -> dict[str, str]:
    """The plugin's keys in the address."""
    from urllib.parse import unquote

    pairs = (part.split("=") for part in tab.hash.split("&")[1:])
    return {unquote(key).removeprefix("p.loss_slicer."): unquote(value) for key, value in pairs}


def test_a_card_can_be_as_wide_as_the_page(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=json.dumps([ADAM]), method="random_direction_2d", width=1600)
    card, main = tab.card(GRID), tab.frame.locator("main")
    narrow, whole = card.bounding_box(), main.bounding_box()
    assert narrow is not None
    assert whole is not None
    assert narrow["width"] < 0.6 * whole["width"]
    card.get_by_label("Full width").click()
    tab.page.wait_for_function("location.hash.includes('wide=')")
    wide = card.bounding_box()
    assert wide is not None
    assert wide["width"] > 0.9 * whole["width"]


def test_steps_and_runs_are_compared_and_a_link_restores_it(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=BOTH, method="random_direction_2d", filter="filter-norm", step="1000")
    cards = tab.frame.get_by_test_id("slice-card")
    cards.nth(1).get_by_test_id("plot").wait_for()
    cards.nth(0).get_by_label("Compare").click()
    tab.frame.get_by_label("Previous step").click()
    cards.nth(0).get_by_text("step 500").wait_for()
    cards.nth(0).get_by_label("Compare").click()
    comparison = tab.frame.get_by_test_id("comparison")
    chosen = comparison.get_by_role("list", name="Compared slices").get_by_role("listitem")
    assert [re.search(r"step \S+", text)[0] for text in chosen.all_inner_texts()] == ["step 1,000", "step 500"]
    chosen.nth(1).get_by_label("Link the step").click()
    comparison.get_by_role("button", name="Side by side").click()
    tab.frame.get_by_label("Next step").click()
    tab.frame.get_by_label("Next step").click()
    chosen.nth(1).get_by_text("step 2,000").wait_for()
    assert "step 1,000" in chosen.nth(0).inner_text()
    # One range for both: the color bars have the same numbers.
    tab.page.wait_for_function(
        """() => {
            const [first, second] = [...document.querySelectorAll("[data-testid=compared]")].map((side) =>
                [...side.querySelectorAll("[data-figure] text")]
                    .filter((text) => !text.closest("[data-testid=contour-labels]"))
                    .map((text) => text.textContent).join());
            return first?.length > 5 && first === second;
        }"""
    )
    tab.page.wait_for_function("location.hash.includes('step=2000')")
    again = open_page(board, **view_of(tab))
    restored = again.frame.get_by_test_id("comparison").get_by_role("list", name="Compared slices")
    restored.get_by_text("step 2,000").wait_for()
    assert restored.get_by_role("listitem").count() == 2
    again.frame.get_by_test_id("comparison").get_by_role("button", name="Clear").click()
    assert again.frame.get_by_test_id("comparison").count() == 0


def test_lines_that_are_compared_have_one_axis_and_a_color_each(open_page: Callable[..., Tab], board: Board) -> None:
    compared = json.dumps([[ADAM, "path/to-last", step] for step in (0, 1000, 2000)])
    tab = open_page(board, filter="none", compared=compared, comparing="true", wait="[data-testid=differences] path")
    sides = tab.frame.get_by_test_id("compared")
    texts = [sides.nth(side).locator("[data-figure] text").all_text_contents() for side in range(3)]
    assert len(texts[0]) > 8
    assert texts[0] == texts[1] == texts[2]
    lines = tab.frame.get_by_test_id("differences").get_by_test_id("plot").first.get_by_test_id("line")
    strokes = lines.evaluate_all("lines => lines.map(line => line.getAttribute('stroke'))")
    assert len(strokes) == len(set(strokes)) == 3


def test_a_slice_that_lacks_the_chosen_metric_is_not_subtracted(open_page: Callable[..., Tab], board: Board) -> None:
    compared = [[ADAM, GRID, 2000], [ADAM, "landscape/explodes", 500], ["measured", "plane", None]]
    tab = open_page(
        board,
        runs=BOTH,
        filter="no card has this name",
        metric="accuracy",
        compared=json.dumps(compared),
        comparing="true",
    )
    comparison = tab.frame.get_by_test_id("comparison")
    # Without a card there is no step to follow: the newest is shown.
    sides = comparison.get_by_test_id("compared")
    sides.nth(2).get_by_test_id("plot").wait_for()
    assert sides.locator("> h3").all_inner_texts() == [
        f"{GRID} · {ADAM} step 2,000",
        f"landscape/explodes · {ADAM} step 500",
        "plane · measured step 200",
    ]
    differences = comparison.get_by_test_id("difference")
    assert differences.locator("figcaption").all_inner_texts() == [
        f"landscape/explodes, resnet20-adam, step 500 minus {GRID}, resnet20-adam, step 2,000"
    ]
    comparison.get_by_text(
        "Only accuracy (train) is subtracted: plane, measured, step 200 shows loss (train).", exact=True
    ).wait_for()


def test_a_slice_says_all_of_its_header_and_the_command_that_repeats_it(
    open_page: Callable[..., Tab], start_board: Callable[..., Board], make_log: Any, tmp_path: Path
) -> None:
    make_log.write_run(tmp_path, "exp", [("tuned", 7, make_log.told(7), "")])
    tab = open_page(start_board(tmp_path), width=1600)
    info = tab.frame.get_by_test_id("info").first
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for title in ("More of the measures", "Path of 2 checkpoints", "How it was made", "Make it again"):
        info.get_by_text(title).click()
    text = info.inner_text()
    for said in (
        ("loss on all samples (train)", "0.75"),
        ("loss without weight decay (train)", "0.5"),
        ("interpolated", "25 % of the points"),
        ("sharpness", "1.5 ± 0.25"),
        ("restarts", "4"),
        ("off the plane", "0.125"),
        ("trials", "loop"),
        ("workers", "3"),
    ):
        assert all(part in text for part in said), said
    info.get_by_label("Copy the command", exact=True).click()
    copied = shlex.split(tab.frame.evaluate("navigator.clipboard.readText()"))
    assert copied[:2] == ["loss-slicer", "run"]
    assert copied[copied.index("--checkpoints") + 1] == "runs/it's $HOME"
    assert copied[copied.index("--tolerance") + 1] == "1%"
    tab.frame.get_by_label("Zoom in").click()
    tab.frame.get_by_label("Zoom in").click()
    info.get_by_label("Copy the command for the part in view").click()
    finer = shlex.split(tab.frame.evaluate("navigator.clipboard.readText()"))
    spans = [[float(end) for end in axis.split(":")] for axis in finer[finer.index("--range") + 1].split(",")]
    assert all(-1 < low < 0 < high < 1 for low, high in spans)
    assert finer[finer.index("--steps") + 1] == "7"


def test_a_provisional_slice_says_how_far_it_is(
    open_page: Callable[..., Tab], start_board: Callable[..., Board], make_log: Any, tmp_path: Path
) -> None:
    draft = make_log.grid(0, (9, 7), status="provisional", filled=0.404)
    draft = make_log.with_seconds_left(draft, 200, datetime(2026, 3, 1, 14, 5).timestamp())
    make_log.write_run(tmp_path, "exp", [("random2d/preview", 0, draft, "")])
    tab = open_page(start_board(tmp_path))
    shown = tab.frame.get_by_test_id("provisional").inner_text()
    assert shown == "provisional, 40 % of the points, about 3 min left at Sun Mar 01 2026, 14:05"


def test_a_tag_of_which_tensorboard_dropped_steps_says_so(
    open_page: Callable[..., Tab], start_board: Callable[..., Board], make_log: Any, tmp_path: Path
) -> None:
    make_log.many(tmp_path, 12)
    tab = open_page(start_board(tmp_path, "--samples_per_plugin", "loss_slicer=5"))
    tab.card("path").get_by_text("--samples_per_plugin loss_slicer=0").wait_for()


def test_five_hundred_runs_of_two_hundred_tags_are_listed_without_filling_the_page(
    open_page: Callable[..., Tab], large_board: Board
) -> None:
    tab = open_page(large_board)
    rows = tab.frame.get_by_role("list", name="Runs").locator("li:not([aria-hidden])")
    assert rows.count() < 40
    assert rows.first.get_attribute("aria-setsize") == "500"
    tab.frame.get_by_role("list", name="Runs").evaluate("list => list.scrollTo(0, list.scrollHeight)")
    tab.frame.get_by_label("Show run run-499", exact=True).wait_for()
    tab.frame.get_by_role("button", name="Choose all").click()
    tab.frame.get_by_text("500 of 500 chosen").wait_for()
    tab.frame.get_by_role("button", name="Show more (99,988)").wait_for()
    assert tab.frame.get_by_test_id("slice-card").count() == 12
    tab.frame.get_by_label("Filter tags").fill("tag-199$")
    tab.frame.get_by_text("500 of 100,000 tags match").wait_for()
    for _ in range(3):
        tab.frame.get_by_role("button", name="Show more").click()
    # Cards far from the screen leave their place only.
    tab.frame.locator("main").evaluate("main => main.scrollTo(0, 0)")
    tab.frame.wait_for_function("document.querySelectorAll('[data-testid=slice-card]').length < 40")
    assert tab.frame.evaluate("document.querySelectorAll('main *').length") < 20_000


def test_a_plot_of_all_runs_says_how_many_are_not_in_it(open_page: Callable[..., Tab], large_board: Board) -> None:
    runs = json.dumps([f"run-{index:03d}" for index in range(20)])
    tab = open_page(large_board, runs=runs, filter="tag-000", overlay="true")
    said = "8 runs are not in this plot: Show more adds the next."
    tab.frame.get_by_text(said).wait_for()
    tab.frame.get_by_role("button", name="Over steps").click()
    tab.frame.get_by_test_id("evolution").get_by_text(said).wait_for()
    # By the keyboard: what is still loaded above it may move it away from a pointer.
    tab.frame.get_by_role("button", name="Show more").press("Enter")
    tab.frame.get_by_text(said).wait_for(state="detached")


def test_all_runs_come_into_one_plot_by_one_button(open_page: Callable[..., Tab], large_board: Board) -> None:
    runs = json.dumps([f"run-{index:03d}" for index in range(60)])
    tab = open_page(large_board, runs=runs, filter="tag-000", overlay="true")
    said = "48 runs are not in this plot: Show more adds the next, the button beside it up to 1,000."
    tab.frame.get_by_text(said).wait_for()
    tab.frame.get_by_role("button", name="Show all").press("Enter")
    tab.frame.wait_for_function("document.querySelectorAll('[data-testid=line]').length === 60")
    assert tab.frame.get_by_role("button", name=re.compile("^Show (all|more)")).count() == 0


def test_forty_two_runs_in_one_plot_look_different_and_as_in_the_legend(
    open_page: Callable[..., Tab], large_board: Board
) -> None:
    runs = json.dumps([f"run-{index:03d}" for index in range(42)])
    tab = open_page(large_board, runs=runs, filter="tag-000", overlay="true", width=1600)
    for _ in range(3):
        tab.frame.get_by_role("button", name="Show more").click()
    tab.frame.wait_for_function("document.querySelectorAll('[data-testid=line]').length === 42")
    looks = """lines => lines.map(line => ['stroke', 'stroke-width', 'stroke-dasharray']
        .map(name => line.closest(`[${name}]`)?.getAttribute(name)).join(' '))"""
    lines = tab.frame.locator("[data-testid=line] > path:last-child").evaluate_all(looks)
    assert len(set(lines)) == 42
    # The first is drawn last.
    assert tab.frame.locator("[data-testid=legend] line").evaluate_all(looks) == lines[::-1]
