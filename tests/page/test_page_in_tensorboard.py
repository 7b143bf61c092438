"""The page as a tab of TensorBoard: loading, address, theme, reloaded data, hostile logs."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Board, Tab

ADAM = '["resnet20-adam/loss_slicer"]'


def test_the_tab_opens_with_the_newest_slices_of_the_first_run(
    open_tab: Callable[..., Tab], start_board: Callable[..., Board], make_log: Any, tmp_path: Path
) -> None:
    make_log.usual(tmp_path)
    tab = open_tab(start_board(tmp_path))
    assert tab.frame.get_by_label("Show run resnet20-adam/loss_slicer").is_checked()
    assert not tab.frame.get_by_label("Show run resnet20-sgd/loss_slicer").is_checked()
    assert tab.frame.get_by_test_id("step").inner_text().startswith("step 2,000")
    assert tab.card("path/to-last").count() == 1
    assert tab.frame.evaluate("document.documentElement.lang") == "en"


def test_without_the_fast_loader_the_same_slices_are_shown(
    open_tab: Callable[..., Tab], start_board: Callable[..., Board], make_log: Any, tmp_path: Path
) -> None:
    make_log.usual(tmp_path)
    tab = open_tab(start_board(tmp_path, "--load_fast", "false"), method="random_direction_2d")
    assert tab.card("landscape/explodes").get_by_test_id("plot").count() == 1


def test_below_a_path_prefix_the_page_finds_its_data(
    open_tab: Callable[..., Tab], start_board: Callable[..., Board], make_log: Any, tmp_path: Path
) -> None:
    make_log.usual(tmp_path)
    tab = open_tab(start_board(tmp_path, prefix="/deep/er"), method="axis_parallel")
    assert tab.frame.get_by_test_id("tile").count() == 24


def test_an_empty_log_says_how_to_fill_it(
    open_tab: Callable[..., Tab], start_board: Callable[..., Board], tmp_path: Path
) -> None:
    tab = open_tab(start_board(tmp_path), wait="[data-testid=empty]")
    text = tab.frame.get_by_test_id("empty").inner_text()
    assert "loss-slicer run --checkpoints DIR --method random2d --logdir LOGDIR" in text
    assert "log_slice(" in text
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.frame.get_by_label("Copy the command").click()
    tab.frame.get_by_text("Copied").wait_for(state="attached")
    copied = tab.frame.evaluate("navigator.clipboard.readText()")
    assert copied == "loss-slicer run --checkpoints DIR --method random2d --logdir LOGDIR"


def test_markup_in_names_is_shown_as_text(open_tab: Callable[..., Tab], board: Board, make_log: Any) -> None:
    tab = open_tab(board, runs=f'["{make_log.HOSTILE}"]', filter="img")
    card = tab.frame.get_by_test_id("slice-card")
    text = card.inner_text()
    assert text.count(make_log.HOSTILE) >= 3
    assert "**not bold** [no link](javascript:alert(1))" in text
    tab.hover(card.get_by_test_id("plot"), 0.5, 0.5)
    assert make_log.HOSTILE in tab.readout()
    card.get_by_text("Details and downloads").first.click() if tab.page.viewport_size["width"] < 1000 else None
    card.get_by_text("How it was made").first.click()
    assert tab.frame.locator("img").count() == 0
    assert tab.frame.locator("a[href^=javascript]").count() == 0
    assert tab.page.evaluate("window.hacked") is None


def test_the_theme_follows_tensorboards_switch_at_once(open_tab: Callable[..., Tab], board: Board) -> None:
    tab = open_tab(board, runs=ADAM, method="linear_interpolation")
    background = "getComputedStyle(document.body).backgroundColor"
    label = tab.frame.locator("svg[data-figure] text", has_text="loss (train)").first
    light = tab.frame.evaluate(background), label.get_attribute("fill")
    tab.page.locator("app-header-dark-mode-toggle button").click()
    tab.page.get_by_role("menuitem", name="Dark").click()
    tab.frame.wait_for_function("document.documentElement.classList.contains('dark')")
    dark = tab.frame.evaluate(background), label.get_attribute("fill")
    assert light == ("rgb(245, 246, 247)", "#212121")
    assert dark == ("rgb(48, 48, 48)", "#f1f1f1")


def test_the_view_is_in_the_address_and_survives_a_reload(open_tab: Callable[..., Tab], board: Board) -> None:
    tab = open_tab(board, keys="&_foreign=kept", runs=ADAM)
    tab.frame.get_by_role("radio", name="Random directions").click()
    tab.frame.get_by_label("Filter tags").fill("explodes")
    tab.frame.get_by_label("Logarithmic values").click()
    tab.frame.get_by_label("Previous step").click()
    tab.page.wait_for_function("location.hash.includes('step=1000')")
    before = tab.hash
    for part in ("_foreign=kept", "method=random_direction_2d", "filter=explodes", "scale=log"):
        assert part in before
    tab.page.reload()
    again = tab.page
    frame = _frame(again)
    frame.wait_for_selector("[data-testid=plot]")
    assert again.evaluate("location.hash") == before
    assert frame.get_by_test_id("step").inner_text().startswith("step 1,000")
    assert frame.get_by_label("Logarithmic values").is_checked()
    assert frame.get_by_test_id("slice-card").count() == 1


def test_the_view_survives_a_visit_to_another_tab(
    open_tab: Callable[..., Tab], start_board: Callable[..., Board], make_log: Any, tmp_path: Path
) -> None:
    make_log.usual(tmp_path)
    make_log.scalars(tmp_path)
    tab = open_tab(start_board(tmp_path), runs=ADAM, method="random_direction_2d")
    tab.frame.get_by_label("Previous step").click()
    tab.page.wait_for_function("location.hash.includes('step=1000')")
    before = tab.hash
    tab.page.get_by_role("tab", name="Scalars").click()
    tab.page.wait_for_function("location.hash.startsWith('#scalars')")
    tab.page.get_by_role("tab", name="Loss Slicer").click()
    tab.page.wait_for_function("location.hash.startsWith('#loss_slicer')")
    frame = _frame(tab.page)
    frame.get_by_test_id("plot").first.wait_for(state="visible")
    assert frame.get_by_test_id("step").inner_text().startswith("step 1,000")
    tab.page.wait_for_function("hash => location.hash === hash", arg=before)


def test_new_data_does_not_move_the_step_that_is_looked_at(
    open_tab: Callable[..., Tab], start_board: Callable[..., Board], make_log: Any, tmp_path: Path
) -> None:
    make_log.write_run(tmp_path, "live", [("path", step, make_log.curve(step), "") for step in (0, 10)])
    tab = open_tab(start_board(tmp_path, "--reload_interval", "1"))
    step = tab.frame.get_by_test_id("step")
    assert step.inner_text().split() == ["step", "10", "2", "/", "2"]
    make_log.write_run(tmp_path, "live", [("path", step, make_log.curve(step), "") for step in (20, 30)])
    for _ in range(60):
        tab.page.locator("app-header-reload button").click()
        tab.page.wait_for_timeout(500)
        if step.inner_text().endswith("4"):
            break
    assert step.inner_text().split() == ["step", "10", "2", "/", "4"]
    tab.frame.get_by_label("Newest step").click()
    assert step.inner_text().split() == ["step", "30", "4", "/", "4"]


def test_what_is_gone_from_the_log_leaves_the_page_without_a_failed_request(
    open_tab: Callable[..., Tab], start_board: Callable[..., Board], make_log: Any, tmp_path: Path
) -> None:
    for run in ("kept", "gone"):
        make_log.write_run(tmp_path, run, [("path", step, make_log.curve(step), "") for step in (0, 10, 20)])
    board = start_board(tmp_path, "--reload_interval", "1")
    tab = open_tab(board, runs='["gone","kept"]')
    tab.frame.wait_for_function("document.querySelectorAll('[data-testid=plot]').length === 2")
    # The lists of steps come after the slices.
    listed = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/steps?')).length === 2"
    tab.frame.wait_for_function(listed)
    shutil.rmtree(tmp_path / "gone")
    shutil.rmtree(tmp_path / "kept")
    make_log.write_run(tmp_path, "kept", [("path", step, make_log.curve(step, 13), "") for step in (0, 10)])
    # TensorBoard has read the log again. What goes between two requests of the page is a failed request for anyone.
    tags = f"{board.url}/data/plugin/loss_slicer/tags"
    deadline = time.monotonic() + 60
    while {run: found["path"]["last_step"] for run, found in tab.page.request.get(tags).json().items()} != {"kept": 10}:
        assert time.monotonic() < deadline, "TensorBoard did not read the log again"
        time.sleep(0.2)
    tab.page.locator("app-header-reload button").click()
    tab.frame.get_by_text("over 13 points").wait_for()
    assert tab.frame.get_by_test_id("slice-card").count() == 1
    tab.card("path").get_by_text("step 10", exact=True).wait_for()


def test_a_damaged_slice_fails_in_its_own_card_and_can_be_tried_again(
    open_tab: Callable[..., Tab],
    start_board: Callable[..., Board],
    make_log: Any,
    make_damaged_log: Any,
    tmp_path: Path,
) -> None:
    make_log.write_run(tmp_path, "good", [("path", 0, make_log.curve(0), "")])
    make_damaged_log.damaged(tmp_path, make_log.curve(0))
    tab = open_tab(start_board(tmp_path), runs='["damaged","good"]', wait="[role=alert]")
    tab.card("path").get_by_test_id("plot").wait_for()
    card = tab.card("broken")
    with tab.page.expect_response(lambda response: "/batch" in response.url):
        card.get_by_role("button", name="Try again").click()
    card.get_by_role("alert").wait_for()
    assert all("422" in problem for problem in tab.problems)
    tab.problems.clear()


@pytest.mark.parametrize("method", ["linear_interpolation", "random_direction_2d", "axis_parallel"])
def test_nothing_is_wider_than_the_window(
    open_page: Callable[..., Tab], settle: Callable[[Tab], None], board: Board, method: str
) -> None:
    tab = open_page(board, width=1600, runs='["awkward"]', method=method)
    for width in (1600, 768, 390):
        tab.page.set_viewport_size({"width": width, "height": 900})
        settle(tab)
        sizes = tab.frame.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        main = tab.frame.evaluate("(m => [m.scrollWidth, m.clientWidth])(document.querySelector('main'))")
        assert sizes == [width, width]
        assert main[0] <= main[1]


def test_on_a_phone_the_controls_are_in_a_sheet(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, width=390, height=844, runs=ADAM)
    tab.frame.get_by_role("button", name="Controls").click()
    tab.frame.get_by_role("radio", name="Axis parallel").click()
    tab.page.keyboard.press("Escape")
    tab.frame.get_by_test_id("tile").first.wait_for()
    assert tab.frame.get_by_role("dialog").count() == 0


def _frame(page: Any) -> Any:
    page.wait_for_selector("iframe", state="attached")
    for _ in range(100):
        frame = next((frame for frame in page.frames if "plugin_entry" in frame.url), None)
        if frame:
            return frame
        page.wait_for_timeout(100)
    raise AssertionError("the plugin's frame is gone")


def test_what_was_loaded_stays_while_the_server_is_gone(open_tab: Callable[..., Tab], board: Board) -> None:
    tab = open_tab(board, runs='["resnet20-adam/loss_slicer"]', method="linear_interpolation", filter="to-last")
    card, reload = tab.card("path/to-last"), tab.page.locator("app-header-reload button")
    note = card.get_by_role("status").filter(has_text="TensorBoard does not answer: this is what it sent before.")
    tab.page.route("**/data/plugin/loss_slicer/**", lambda route: route.abort())
    reload.click()
    note.wait_for()
    assert card.get_by_test_id("plot").is_visible()
    assert card.get_by_role("alert").count() == 0
    # A step that was not there before can't be shown.
    tab.frame.get_by_label("Previous step").click()
    tab.frame.get_by_label("Previous step").click()
    card.get_by_role("alert").filter(has_text="is it still running?").wait_for()
    tab.page.unroute("**/data/plugin/loss_slicer/**")
    card.get_by_role("button", name="Try again").first.click()
    card.get_by_test_id("plot").wait_for()
    reload.click()
    note.wait_for(state="detached")
    assert all("ERR_FAILED" in problem for problem in tab.problems)
    tab.problems.clear()
