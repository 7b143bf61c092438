"""Logs that lie: what can't be shown says so in its own card, and everything else goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board, Tab

REFUSALS = {
    "shape": "the slice has 21",
    "short": "needs 168 bytes, found 100",
    "codec": "a form that this page does not read",
    "blob": "there is no array 99",
    "bomb": "holds more than the 168 bytes its header gives",
    "axis": "axis 0 has values that are not finite",
    "axes": "can't have 3 axes",
    "geometry": "this page draws",
    "deep": "can't be read",
    "large": "is larger than the 64 MiB this page shows",
}


@pytest.fixture(scope="module")
def liars(
    start_lasting_board: Callable[..., Board],
    make_log: Any,
    make_damaged_log: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Board:
    logdir = tmp_path_factory.mktemp("liars")
    make_damaged_log.liars(logdir, make_log.curve(0, 21))
    make_log.strange_names(logdir)
    make_log.far_apart(logdir)
    return start_lasting_board(logdir)


def test_a_header_that_lies_fails_in_its_own_card(open_page: Callable[..., Tab], liars: Board) -> None:
    tab = open_page(liars, runs='["liars"]')
    tab.card("true").get_by_test_id("plot").wait_for()
    for tag, said in REFUSALS.items():
        alert = tab.card(tag).get_by_role("alert")
        alert.wait_for()
        assert said in alert.inner_text(), tag
        assert tab.card(tag).get_by_role("button", name="Try again").is_enabled()
    tab.frame.get_by_label("Filter tags").fill("true")
    assert tab.frame.get_by_test_id("slice-card").count() == 1
    # The browser reports each refusal of the server.
    assert all("422" in problem or "404" in problem for problem in tab.problems)
    tab.problems.clear()


def test_names_can_neither_hide_nor_turn_nor_fill_the_page(
    open_page: Callable[..., Tab], liars: Board, make_log: Any
) -> None:
    tab = open_page(liars, runs=json.dumps([make_log.STRANGE_RUN]), width=1000)
    assert tab.frame.get_by_test_id("plot").count() == 3
    text = tab.frame.locator("body").inner_text()
    assert "\u202e" not in text
    assert "\\u202e" in text
    sizes = tab.frame.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert sizes[0] <= sizes[1]
    for heading in tab.frame.locator("h2 bdi").all():
        box = heading.bounding_box()
        assert box is not None
        assert box["height"] < 200

    nameless = tab.card("(no name)")
    assert nameless.get_by_role("heading", level=2).inner_text() == "(no name)"
    nameless.get_by_role("button", name="Compare").click()
    tab.frame.get_by_role("button", name="Leave (no name) of").wait_for()

    for plot in tab.frame.get_by_test_id("plot").all():
        assert plot.locator("xpath=..").evaluate("element => element.getBoundingClientRect().height") < 700
    with tab.page.expect_download() as download:
        tab.save("PNG, 1×")
    assert download.value.path().read_bytes().startswith(b"\x89PNG")

    description = tab.frame.get_by_role("note", name="Description").first
    assert description.evaluate("element => element.scrollHeight > element.clientHeight")
    box = description.bounding_box()
    assert box is not None
    assert box["height"] < 200


def test_values_too_far_apart_for_a_number_are_clipped(open_page: Callable[..., Tab], liars: Board) -> None:
    tab = open_page(liars, runs='["far"]')
    text = tab.card("far").inner_text()
    assert "Clipped at −7.191e307 and 7.191e307; the values reach −1.7e308 and 1.7e308." in text
    assert "NaN" not in text
    tab.frame.get_by_role("button", name="Surface").first.click()
    tab.card("far").get_by_test_id("surface").wait_for()
    tab.card("row").get_by_text("A surface needs two points along each axis; this grid has 11 × 1.").wait_for()
    assert "NaN" not in tab.card("far").inner_text()


def test_paths_that_climb_lead_nowhere(open_page: Callable[..., Tab], liars: Board) -> None:
    tab = open_page(liars, runs='["liars"]', filter="true")
    base = f"{liars.url}/data/plugin/loss_slicer/static"
    for path in ("../plugin.py", "..%2fplugin.py", "%2e%2e/plugin.py", "assets/../../plugin.py", "/etc/passwd"):
        status = tab.page.request.get(f"{base}/{path}").status
        assert status == 404, path
    assert tab.page.request.get(f"{base}/index.js").status == 200
