"""Every method has a page that says what it shows, and the pictures of the pages are there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from slicer_core.methods import METHODS

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "methods"
PNG = b"\x89PNG\r\n\x1a\n"


def page_of(method: str) -> Path:
    """The page whose title has the method's name."""
    titled = [path for path in FOLDER.glob("*.md") if f"`{method}`" in path.read_text().splitlines()[0]]
    assert len(titled) == 1, f"{method} has {len(titled)} pages"
    return titled[0]


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_a_page_with_its_command_and_how_to_read_it(method: str) -> None:
    text = page_of(method).read_text()
    assert "    loss-slicer run" in text
    assert "--method" in text
    assert "## How to read it" in text
    assert f"pictures/method-{method}.png" in text


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.stem)
def test_each_picture_of_a_page_is_there_with_the_command_that_draws_it_right_below(page: Path) -> None:
    text = page.read_text()
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    below = re.findall(r"!\[[^\]]+\]\(([^)]+)\)\n\n((?:    .*\n)+)", text)
    assert [picture for picture, _ in below] == shown
    for picture, commands in below:
        assert (page.parent / picture).resolve().read_bytes().startswith(PNG)
        assert "loss-slicer run" in commands
        assert "loss-slicer plot" in commands


@pytest.mark.parametrize("method", METHODS)
def test_each_page_names_every_option_of_its_method(method: str) -> None:
    text = page_of(method).read_text()
    for option in METHODS[method].options:
        assert option.flag in text, f"{method}: {option.flag}"


def test_the_pictures_script_finds_the_commands_of_every_picture() -> None:
    pictures = FOLDER.parent / "pictures"
    spec = importlib.util.spec_from_file_location("method_pictures", pictures / "methods.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = script.blocks()
    assert sorted(found) == sorted(path.stem.removeprefix("method-") for path in pictures.glob("method-*.png"))
    for page, commands in found.values():
        assert page.parent == FOLDER
        assert [command[:2] for command in commands] == [["loss-slicer", "run"], ["loss-slicer", "plot"]]
