"""Accessibility, keyboard, history, and a TensorBoard that is itself in a frame, as notebooks show it."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Board, Tab
    from playwright.sync_api import BrowserContext, Frame, Page, Route

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
ADAM = '["resnet20-adam/loss_slicer"]'
GRID = "landscape/filter-normalized"
COMPARED = json.dumps([["resnet20-adam/loss_slicer", GRID, 0], ["resnet20-adam/loss_slicer", GRID, None]])


def complaints(tab: Tab, **options: Any) -> list[tuple[str, Any]]:
    """What axe finds that is serious or worse, with where it is."""
    tab.frame.evaluate(AXE.read_text(encoding="utf-8") + "\n;undefined")
    run = "options => axe.run(document, {resultTypes: ['violations'], ...options})"
    found = tab.frame.evaluate(run, options)["violations"]
    return [
        (rule["id"], [node["target"] for node in rule["nodes"]])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


IS_DARK = "document.documentElement.classList.contains('dark')"


@pytest.mark.parametrize("method", ["linear_interpolation", "random_direction_2d", "axis_parallel"])
def test_axe_finds_nothing_serious(
    open_page: Callable[..., Tab], settle: Callable[[Tab], None], board: Board, method: str
) -> None:
    tab = open_page(board, runs=ADAM, method=method, compared=COMPARED, comparing="true")
    assert not tab.frame.evaluate(IS_DARK)
    tab.frame.get_by_test_id("compared").nth(1).get_by_test_id("plot").wait_for()
    for summary in tab.frame.locator("details:not([open]) > summary:visible").all()[:3]:
        summary.click()
    assert complaints(tab) == []
    tab.page.emulate_media(color_scheme="dark")
    tab.frame.wait_for_function(IS_DARK)
    settle(tab)
    # The dark changes colors alone.
    assert complaints(tab, runOnly=["color-contrast"]) == []


def test_axe_finds_nothing_serious_in_the_sheet_of_a_phone(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, width=375, height=740, runs=ADAM)
    assert complaints(tab) == []
    tab.frame.get_by_role("button", name="Controls").click()
    tab.frame.get_by_role("dialog").wait_for()
    assert complaints(tab) == []


def test_the_back_button_comes_back_to_the_same_view(
    open_tab: Callable[..., Tab], board: Board, find_frame: Callable[[Page], Frame]
) -> None:
    tab = open_tab(board, runs=ADAM, method="random_direction_2d")
    tab.frame.get_by_label("Filter tags").fill("explodes")
    tab.frame.get_by_label("Previous step").click()
    tab.page.wait_for_function("location.hash.includes('step=1000') && location.hash.includes('explodes')")
    before = tab.hash
    tab.page.goto("about:blank")
    tab.page.go_back()
    frame = find_frame(tab.page)
    frame.get_by_test_id("plot").first.wait_for()
    assert frame.get_by_test_id("step").inner_text().split()[1] == "1,000"
    assert frame.get_by_label("Filter tags").input_value() == "explodes"
    assert tab.hash == before


def test_everything_is_reached_by_keys_alone(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=ADAM, method="random_direction_2d", filter="filter-norm")
    tab.frame.get_by_label("Show run awkward").focus()
    tab.page.keyboard.press("Space")
    tab.page.wait_for_function("decodeURIComponent(location.hash).includes('awkward')")
    tab.frame.get_by_role("slider", name="Step", exact=True).focus()
    tab.page.keyboard.press("Home")
    tab.card(GRID).get_by_text("step 0", exact=True).wait_for()
    seen = set()
    tab.frame.get_by_label("Filter tags").focus()
    for _ in range(40):
        tab.page.keyboard.press("Tab")
        seen.add(tab.frame.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent"))
    for name in ("Next step", "Play through the steps", "Follow newest", "Compare ", "Pin ", "Full width "):
        assert any(entry.startswith(name) for entry in seen), (name, seen)


def test_the_buttons_of_each_card_have_names_of_their_own(open_page: Callable[..., Tab], board: Board) -> None:
    runs = ["resnet20-adam/loss_slicer", "resnet20-sgd/loss_slicer"]
    shown = {"method": "random_direction_2d", "filter": "filter-norm", "step": "1000"}
    tab = open_page(board, runs=json.dumps(runs), **shown)
    names: list[str] = []
    cards = tab.frame.get_by_test_id("slice-card")
    for number in range(2):
        cards.nth(number).get_by_text("step 1,000", exact=True).wait_for()
        names += re.findall(r'button "(.+?)"', cards.nth(number).locator("header").aria_snapshot())
    of = f"{GRID} of"
    for run in runs:
        assert {f"Pin {of} {run}", f"Compare {of} {run}, step 1,000", f"Full width of {of} {run}"} <= set(names)
    assert len(names) == len(set(names)) == 8


def test_a_dialog_gives_the_focus_back_to_what_opened_it(open_page: Callable[..., Tab], board: Board) -> None:
    focused = "document.activeElement.ariaLabel ?? document.activeElement.textContent"
    tab = open_page(board, runs=ADAM, method="axis_parallel", width=500)
    tile = tab.frame.get_by_role("button", name="Enlarge").nth(1)
    for opener in (tile, tab.frame.get_by_role("button", name="Controls")):
        opener.focus()
        before = tab.frame.evaluate(focused)
        tab.page.keyboard.press("Enter")
        tab.frame.get_by_role("dialog").wait_for()
        tab.page.keyboard.press("Escape")
        tab.frame.get_by_role("dialog").wait_for(state="detached")
        assert tab.frame.evaluate(focused) == before


@pytest.fixture
def notebook(board: Board) -> Iterator[str]:
    """Address of a page of another port, thus another origin, that shows TensorBoard in a frame, as notebooks do."""
    content = f'<iframe src="{board.url}/#loss_slicer" style="width: 960px; height: 760px"></iframe>'.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/notebook"
    server.shutdown()
    server.server_close()


def test_all_cards_are_printed_without_the_controls(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs='["awkward"]', method="random_direction_2d")
    main, controls = tab.frame.locator("main"), tab.frame.get_by_role("navigation", name="Controls")
    assert main.evaluate("main => main.scrollHeight > innerHeight")
    assert controls.is_visible()
    tab.page.emulate_media(media="print")
    # All of it is on the document, which is what pages are made from.
    assert main.evaluate("main => main.clientHeight === main.scrollHeight")
    assert tab.frame.evaluate("document.documentElement.scrollHeight >= document.querySelector('main').scrollHeight")
    assert not controls.is_visible()
    assert not tab.frame.get_by_label("Filter tags").is_visible()


def test_cards_that_were_scrolled_past_are_printed_too(open_page: Callable[..., Tab], board: Board) -> None:
    runs = ["awkward", "measured", "resnet20-adam/loss_slicer", "resnet20-sgd/loss_slicer"]
    tab = open_page(board, runs=json.dumps(runs), method="random_direction_2d", width=500, height=400)
    tab.frame.get_by_role("button", name="Show more").click()
    cards, plots = tab.frame.get_by_test_id("slice-card"), tab.frame.get_by_test_id("plot")
    main = tab.frame.locator("main")
    main.evaluate("main => main.scrollTo(0, main.scrollHeight)")
    tab.frame.wait_for_function("document.querySelectorAll('[data-testid=slice-card]').length > 12")
    tab.frame.locator("[data-testid=slice-card] >> nth=-1").get_by_test_id("plot").wait_for()
    whole = cards.count()
    main.evaluate("main => main.scrollTo(0, 0)")
    tab.frame.wait_for_function("document.querySelectorAll('[data-testid=slice-card]').length === 12")
    tab.frame.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert cards.count() == whole
    assert plots.count() == whole
    tab.frame.evaluate("dispatchEvent(new Event('afterprint'))")
    tab.frame.wait_for_function("document.querySelectorAll('[data-testid=slice-card]').length === 12")


PRINTED = """() => {
    dispatchEvent(new Event("beforeprint"));
    const cards = [...document.querySelectorAll("[data-testid=slice-card]")];
    dispatchEvent(new Event("afterprint"));
    return cards.map(card => card.querySelector("[data-testid=plot]") !== null);
}"""


ASKED_FOR = """() => new Set(
    performance.getEntriesByType("resource")
        .map(({ name }) => new URL(name))
        .filter(({ pathname }) => pathname.endsWith("/batch"))
        .flatMap(({ searchParams }) => JSON.parse(searchParams.get("q")).requests)
        .map(({ run, tag }) => JSON.stringify([run, tag])),
).size"""


def test_cards_that_were_never_near_the_screen_are_printed_too(open_page: Callable[..., Tab], board: Board) -> None:
    runs = ["awkward", "measured", "resnet20-adam/loss_slicer", "resnet20-sgd/loss_slicer"]
    tab = open_page(board, runs=json.dumps(runs), method="random_direction_2d", width=500, height=400)
    held: list[Route] = []
    holding = True
    tab.page.route("**/batch*", lambda route: held.append(route) if holding else route.continue_())
    with tab.page.expect_request("**/batch*"):
        # A click of the pointer would scroll there.
        tab.frame.get_by_role("button", name="Show more").evaluate("button => button.click()")
    # What paper shows and takes away meanwhile is loaded nevertheless.
    tab.frame.evaluate(PRINTED)
    holding = False
    for route in held:
        route.continue_()
    tab.frame.wait_for_function(f"({ASKED_FOR})() === 14")
    tab.frame.wait_for_function(f"({PRINTED})().filter(Boolean).length === 14", polling=100)


def test_paper_says_what_was_not_loaded(open_page: Callable[..., Tab], board: Board) -> None:
    runs = ["awkward", "measured", "resnet20-adam/loss_slicer", "resnet20-sgd/loss_slicer"]
    tab = open_page(board, runs=json.dumps(runs), method="random_direction_2d", width=500, height=400)
    tab.page.route("**/batch*", lambda route: None)
    tab.frame.get_by_role("button", name="Show more").click()
    tab.frame.evaluate("dispatchEvent(new Event('beforeprint'))")
    missing = tab.frame.get_by_text("Not loaded yet: scroll to this card, then print again.")
    assert missing.count() > 0
    assert not missing.last.is_visible()
    tab.page.emulate_media(media="print")
    assert missing.last.is_visible()
    assert not tab.frame.get_by_role("status").filter(has_text="Loading").first.is_visible()


def test_in_a_frame_of_another_origin_the_page_works(
    browser: BrowserContext, notebook: str, find_frame: Callable[[Page], Frame]
) -> None:
    page = browser.new_page()
    page.set_viewport_size({"width": 1000, "height": 800})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(notebook)
    frame = find_frame(page)
    frame.get_by_role("radio", name="Linear interpolation").wait_for()
    frame.get_by_label("Show only run resnet20-adam/loss_slicer").focus()
    page.keyboard.press("Enter")
    frame.get_by_test_id("plot").first.wait_for()
    frame.get_by_label("Previous step").click()
    frame.get_by_test_id("step").get_by_text("1,000").wait_for()
    assert page.url == notebook
    assert problems == []


def test_letters_are_as_large_as_the_reader_asked_the_browser_for(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=ADAM, width=1280)
    assert tab.frame.evaluate("getComputedStyle(document.documentElement).fontSize") == "14px"
    row = tab.frame.get_by_role("list", name="Runs").locator("li:not([aria-hidden])").first
    low = row.evaluate("row => row.clientHeight")
    fonts = tab.page.context.new_cdp_session(tab.page)
    fonts.send("Page.setFontSizes", {"fontSizes": {"standard": 32}})
    tab.page.reload()
    # There is no room for controls of that size beside the plots.
    tab.frame.get_by_role("button", name="Controls").click()
    assert tab.frame.evaluate("getComputedStyle(document.documentElement).fontSize") == "28px"
    assert row.evaluate("row => row.clientHeight") == 2 * low
    assert tab.frame.get_by_role("dialog").evaluate("sheet => sheet.scrollWidth <= sheet.clientWidth")
    assert tab.frame.evaluate("document.documentElement.scrollWidth <= innerWidth")


LETTERS = """card => [...card.querySelectorAll('svg[data-figure] text')].map(text => {
    const { left, top, right, bottom } = text.getBoundingClientRect();
    return { text: text.textContent, height: Math.min(right - left, bottom - top), box: [left, top, right, bottom] };
})"""


@pytest.mark.parametrize("width", [420, 1280])
def test_letters_in_plots_are_as_large_as_the_reader_asked_the_browser_for(
    open_page: Callable[..., Tab], board: Board, width: int
) -> None:
    tab = open_page(board, runs=ADAM, width=width, method="random_direction_2d", filter="filter-norm", levels="0")
    card = tab.card(GRID)
    fonts = tab.page.context.new_cdp_session(tab.page)
    before = {each["text"]: each["height"] for each in card.evaluate(LETTERS)}
    fonts.send("Page.setFontSizes", {"fontSizes": {"standard": 32}})
    tab.page.reload()
    plot = card.get_by_test_id("plot")
    plot.locator("svg text").first.wait_for()
    texts = card.evaluate(LETTERS)
    larger = [each["height"] / before[each["text"]] for each in texts if each["text"] in before]
    assert min(larger) > (1.9 if width == 1280 else 1.3)
    for index, each in enumerate(texts):
        for other in texts[:index]:
            left, top = (max(a, b) for a, b in zip(each["box"][:2], other["box"][:2], strict=True))
            right, bottom = (min(a, b) for a, b in zip(each["box"][2:], other["box"][2:], strict=True))
            # The boxes have room above and below the letters.
            assert right - left < 1 or bottom - top < 6, (each, other)
    # What the pointer is over is still what is read.
    tab.hover(plot.locator("canvas"), 0.4, 0.3)
    canvas, cell = (plot.locator(part).bounding_box() for part in ("canvas", "svg:not([data-figure]) rect"))
    assert canvas is not None
    assert cell is not None
    for side, size, share in (("x", "width", 0.4), ("y", "height", 0.3)):
        assert cell[side] - 2 <= canvas[side] + share * canvas[size] <= cell[side] + cell[size] + 2
    assert cell["width"] < 60
    assert tab.frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert card.locator("h2").evaluate("name => name.clientWidth > 4 * parseFloat(getComputedStyle(name).fontSize)")


def test_in_the_readers_own_colors_nothing_is_told_by_a_background_that_is_gone(
    open_tab: Callable[..., Tab], board: Board
) -> None:
    tab = open_tab(board, runs=ADAM, method="random_direction_2d", filter="filter-norm")
    tab.page.emulate_media(forced_colors="active", color_scheme="dark")
    tab.page.evaluate("document.body.classList.remove('dark-mode')")
    # TensorBoard's light theme is not seen: dark letters would be on a black plot.
    tab.frame.wait_for_function("document.documentElement.classList.contains('dark')")
    color = "element => getComputedStyle(element).backgroundColor"
    page = tab.frame.locator("body").evaluate(color)
    chosen = tab.frame.get_by_role("radio", checked=True).locator("span > span")
    view = tab.frame.get_by_role("group", name="View")
    pressed, other = (view.get_by_role("button", name=name) for name in ("Slice", "Over steps"))
    thumb = tab.frame.get_by_role("slider", name="Step", exact=True)
    assert other.evaluate(color) in (page, "rgba(0, 0, 0, 0)")
    for told in (chosen, pressed, thumb):
        assert told.evaluate(color) not in (page, "rgba(0, 0, 0, 0)")
    run = tab.card(GRID).locator("header span[style]")
    assert run.evaluate(color) == run.evaluate("dot => dot.style.background")
