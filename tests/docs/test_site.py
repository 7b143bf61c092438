"""The site is built without a warning, and its pages of commands are what the commands say."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-b", "html"]
    cache = tmp_path_factory.mktemp("doctrees")
    built = subprocess.run([*command, "-d", cache, DOCS, folder], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_commands", DOCS / "generate_commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_page_is_in_the_site_and_each_link_in_it_leads_somewhere(site: Path) -> None:
    written = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert written <= built

    assert [
        (page.name, target)
        for page in site.rglob("*.html")
        for target in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:", target) and not (page.parent / unquote(target)).exists()
    ] == []


def test_no_page_has_an_address_on_the_machine_that_built_it(site: Path) -> None:
    found = [
        (page.name, address)
        for page in site.rglob("*.html")
        for address in ("file://", str(ROOT), str(Path.home()))
        if address in page.read_text(encoding="utf-8")
    ]
    assert found == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "checkpoints_examples/README.md"])
def test_the_links_of_pages_outside_the_site_lead_somewhere(name: str) -> None:
    page = ROOT / name
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_pages_of_commands_are_those_that_the_commands_give() -> None:
    made = generator().pages()
    committed = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "commands").glob("*.md")}
    assert committed == made, "make docs writes them anew"


def test_every_option_is_on_the_page_of_its_command() -> None:
    """Told by the help itself, which the generator does not read."""
    from typer.testing import CliRunner

    from loss_slicer.app import app

    for page in (DOCS / "commands").glob("*.md"):
        if page.stem == "index":
            continue
        shown = CliRunner().invoke(app, [page.stem, "--help"], env={"COLUMNS": "250", "TERMINAL_WIDTH": "250"}).stdout
        flags = set(re.findall(r"│ +(?:\* +)?(--[a-z][\w-]*)", shown)) - {"--help"}
        text = page.read_text(encoding="utf-8")
        assert flags or "- `--" not in text, page
        assert [flag for flag in flags if f"`{flag}" not in text] == [], page
