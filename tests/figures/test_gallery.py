"""The gallery's commands are ones that the command takes, and its pictures are there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loss_slicer.app import app

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    spec = importlib.util.spec_from_file_location("gallery", DOCS / "pictures" / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.commands()


@pytest.mark.parametrize("words", [words for words in commands() if words[1] == "run"], ids=" ".join)
def test_each_run_is_a_job(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS.parent)
    result = CliRunner().invoke(app, [*words[1:], "--print-config"])
    assert result.exit_code == 0, result.output
    checkpoints = words[words.index("--checkpoints") + 1]
    assert list(DOCS.parent.glob(checkpoints))


def test_each_picture_is_drawn_by_a_command_and_shown() -> None:
    drawn = [words[words.index("--out") + 1] for words in commands() if words[1] == "plot"]
    shown = [f"docs/{path}" for path in re.findall(r"!\[[^]]*\]\(([^)]*)\)", PAGE)]
    assert drawn == shown
    assert [path for path in shown if not (DOCS.parent / path).is_file()] == []
