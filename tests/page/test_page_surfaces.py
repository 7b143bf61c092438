"""Grids as surfaces in space."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board, Tab

ADAM = '["resnet20-adam/loss_slicer"]'
BOTH = '["resnet20-adam/loss_slicer","resnet20-sgd/loss_slicer"]'
MEASURED = '["measured"]'


def test_a_surface_is_loaded_when_opened_turned_and_saved(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(board, runs=MEASURED, method="random_direction_2d", filter="plane")
    scripts: list[str] = []
    tab.page.on("request", lambda request: scripts.append(request.url))
    loaded = "performance.getEntriesByType('resource').filter(e => e.name.includes('surface-scene')).length"
    assert tab.frame.evaluate(loaded) == 0
    tab.frame.get_by_role("button", name="Surface", exact=True).click()
    surface = tab.frame.get_by_test_id("surface")
    surface.wait_for()
    painted = (
        "() => { const c = document.querySelector('[data-testid=surface] canvas'); if (!c || !c.width) return false;"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n > d.length / 40 }"
    )
    tab.frame.wait_for_function(painted)
    assert any("surface-scene" in url for url in scripts)
    before = surface.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    surface.focus()
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_function("location.hash.includes('camera=42%2C58%2C1')")
    tab.frame.wait_for_function(
        "before => document.querySelector('[data-testid=surface] canvas').toDataURL() !== before", arg=before
    )
    with tab.page.expect_download() as download:
        tab.save("PNG, 2×")
    image = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    colored = image.max(axis=2) - image.min(axis=2) > 40
    assert colored[:, : int(image.shape[1] * 0.75)].mean() > 0.05


def test_all_surfaces_have_one_camera(open_page: Callable[..., Tab], board: Board) -> None:
    tab = open_page(
        board,
        runs=BOTH,
        method="random_direction_2d",
        filter="filter-normalized",
        display="surface",
        wait="[data-testid=surface] svg text",
    )
    places = """() => [...document.querySelectorAll('[data-testid=surface]')].map(surface =>
        [...surface.querySelectorAll('svg text')].slice(0, 4).map(text => text.getAttribute('x')).join(' '))"""
    tab.frame.wait_for_function(
        f"(places => places.length === 2 && places[0] && places[0] === places[1])(({places})())"
    )
    before, _ = tab.frame.evaluate(places)
    tab.frame.get_by_test_id("surface").first.focus()
    tab.page.keyboard.press("ArrowRight")
    tab.frame.wait_for_function(
        f"before => (places => places[0] !== before && places[0] === places[1])(({places})())", arg=before
    )


@pytest.mark.parametrize("width", [360, 700, 1280])
def test_the_names_of_a_surfaces_axes_stay_clear_of_all_else(
    open_page: Callable[..., Tab], board: Board, width: int
) -> None:
    wait = "[data-testid=surface] svg text"
    tab = open_page(board, width=width, runs=ADAM, method="pca_2d", display="surface", wait=wait)
    surface = tab.frame.get_by_test_id("surface")
    surface.locator("svg text", has_text=re.compile("^princ")).nth(1).wait_for()
    boxes = surface.locator("svg text").evaluate_all(
        """texts => texts.filter(text => !text.hasAttribute("paint-order")).map(text => {
            const { left, top, right, bottom } = text.getBoundingClientRect();
            return { name: /^princ/.test(text.textContent), box: [left, top, right, bottom] };
        })"""
    )
    names = [entry["box"] for entry in boxes if entry["name"]]
    assert len(names) == 2
    edge = surface.locator("svg rect").first.bounding_box()
    around = surface.bounding_box()
    assert edge is not None
    assert around is not None
    for name in names:
        assert around["x"] <= name[0]
        assert name[2] <= edge["x"]
        others = [entry["box"] for entry in boxes if entry["box"] != name]
        for left, top, right, bottom in others:
            assert right <= name[0] or left >= name[2] or bottom - 2 <= name[1] or top + 2 >= name[3]


def test_without_webgl_a_surface_says_so(open_page: Callable[..., Tab], board: Board) -> None:
    script = (
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        " return String(kind).startsWith('webgl') ? null : get.call(this, kind, ...rest) }"
    )
    tab = open_page(
        board, wait="[role=alert]", script=script, runs=MEASURED, method="random_direction_2d", display="surface"
    )
    assert "needs WebGL" in tab.frame.get_by_role("alert").first.inner_text()
    tab.frame.get_by_role("button", name="Slice", exact=True).first.click()
    tab.frame.get_by_test_id("plot").first.wait_for()
    # three.js reports the missing context on the console, too.
    assert all("WebGL" in problem for problem in tab.problems)
    tab.problems.clear()
