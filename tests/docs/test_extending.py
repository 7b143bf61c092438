"""The worked examples of docs/extending.md, made in a copy of the repository as the page says, and used."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "extending.md"
COPIED = ("cli", "slicer_core", "tb_plugin", "frontend", "checkpoints_examples", "pyproject.toml")
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
START_SECONDS = 120
# Where a picture of the view goes, for people who want to see it.
PICTURE = os.environ.get("EXTENDING_PICTURE")
RUN = "sgd/loss_slicer"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A block of the page: what kind it is, the file it is about, and its text."""

    kind: str
    file: str | None
    text: str


def steps() -> list[Step]:
    found = []
    for token in MarkdownIt("commonmark").parse(PAGE.read_text(encoding="utf-8")):
        if token.type == "fence":
            kind, *rest = token.info.split()
            file = next((word.removeprefix("file=") for word in rest if word.startswith("file=")), None)
            found.append(Step(kind=kind, file=file, text=token.content))
        else:
            assert token.type != "code_block", f"a block without a kind: {token.content}"
    return found


def change(source: str, step: Step) -> str:
    """The source with a block's change: its lines without and with `+` in the place of those without and with `-`."""
    lines = step.text.splitlines(keepends=True)
    assert {line[0] for line in lines} <= set(" +-\n"), f"{step.file}: lines of a change begin with +, - or a space"
    before = "".join(line[1:] or "\n" for line in lines if line[0] in " -\n")
    after = "".join(line[1:] or "\n" for line in lines if line[0] in " +\n")
    assert source.count(before) == 1, f"{step.file} does not have these lines once:\n{before}"
    return source.replace(before, after)


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The changed copy."""

    folder: Path

    def run(self, *command: str, cwd: str = ".") -> str:
        """What the command prints in the copy, with the copy's packages before the installed ones."""
        done = subprocess.run(
            command, cwd=self.folder / cwd, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        packages = os.pathsep.join(str(self.folder / name) for name in ("cli", "slicer_core", "tb_plugin"))
        return {**os.environ, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    folder = tmp_path_factory.mktemp("extended")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    for step in steps():
        if step.file is None:
            continue
        path = folder / step.file
        if step.kind == "diff":
            path.write_text(change(path.read_text(encoding="utf-8"), step), encoding="utf-8")
        else:
            assert not path.exists(), f"{step.file} is there already"
            path.write_text(step.text, encoding="utf-8")
    return Tree(folder=folder)


@pytest.fixture(scope="module")
def sliced(tree: Tree) -> Tree:
    """With a log, made by the page's command."""
    (commands,) = [step.text for step in steps() if step.kind == "console"]
    for line in commands.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line)
        assert program == "loss-slicer"
        tree.run(sys.executable, "-m", "loss_slicer", *arguments)
    return tree


@pytest.fixture(scope="module")
def facts(sliced: Tree) -> dict[str, Any]:
    """What the log holds, by the library."""
    return json.loads(sliced.run(sys.executable, "-c", READ_THE_SLICE))


@contextmanager
def serving(tree: Tree) -> Iterator[str]:
    """The address of a TensorBoard that has the changed plugin."""
    output = tree.folder / "tensorboard.txt"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", "runs", "--port", "0"]
    with output.open("wb") as stream:
        board = subprocess.Popen(command, cwd=tree.folder, env=tree.environment, stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + START_SECONDS
        while (found := re.search(r"http://[^:\s]+:(\d+)", output.read_text())) is None:
            assert board.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        address = f"http://localhost:{found[1]}"
        # TensorBoard answers before it has read the log.
        while not json.load(urllib.request.urlopen(f"{address}/data/plugin/loss_slicer/tags")):
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        yield address
    finally:
        board.terminate()
        board.wait()


def test_each_kind_of_block_is_used() -> None:
    kinds = [step.kind for step in steps()]
    assert set(kinds) == {"python", "diff", "tsx", "console"}
    assert all(step.file for step in steps() if step.kind != "console")


def test_the_method_is_listed_run_and_logged(sliced: Tree, facts: dict[str, Any]) -> None:
    listed = json.loads(sliced.run(sys.executable, "-m", "loss_slicer", "methods", "--json"))
    assert "biases" in [row["name"] for row in listed["methods"]]

    assert facts["slice_type"] == "bias_scale"
    assert facts["shape"] == [41]
    # Without biases, at α = -1/2 with a step of two, by the network itself.
    assert facts["without_biases"] == pytest.approx(facts["own"], rel=2e-5)


def test_the_new_python_has_the_manners_of_the_rest(tree: Tree) -> None:
    files = [step.file for step in steps() if step.kind == "python" and step.file]
    tree.run(sys.executable, "-m", "ruff", "check", *files)
    tree.run(sys.executable, "-m", "ruff", "format", "--check", *files)


def test_the_endpoint_answers(sliced: Tree, facts: dict[str, Any]) -> None:
    with serving(sliced) as address:
        route = f"{address}/data/plugin/loss_slicer/centers"
        found = json.load(urllib.request.urlopen(f"{route}?run={RUN}&tag=biases"))
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(f"{route}?run={RUN}")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{route}?run={RUN}&tag=nothing")

    assert found == {"steps": [2000], "losses": [{"train": facts["center"]}]}


def test_the_view_is_in_the_page(sliced: Tree) -> None:
    if os.environ.get("SKIP_BROWSER") == "1" and not os.environ.get("CI"):
        pytest.skip("SKIP_BROWSER is set")
    modules = ROOT / "frontend" / "node_modules"
    assert modules.is_dir(), "the page's libraries are not installed: make page-check"
    (sliced.folder / "frontend" / "node_modules").symlink_to(modules)
    for command in (["tsc", "--noEmit"], ["vite", "build", "--logLevel", "error"]):
        sliced.run(str(modules / ".bin" / command[0]), *command[1:], cwd="frontend")
    files = [step.file for step in steps() if step.file and step.file.startswith("frontend/")]
    sliced.run(
        str(modules / ".bin" / "biome"),
        "check",
        "--error-on-warnings",
        *(str(Path(file).relative_to("frontend")) for file in sorted(set(files))),
        cwd="frontend",
    )

    from playwright.sync_api import sync_playwright

    with serving(sliced) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/#loss_slicer&p.loss_slicer.display=lowest")
        table = page.frame_locator("iframe").get_by_test_id("lowest-points")
        table.wait_for()
        rows = table.locator("tbody tr").all_inner_texts()
        if PICTURE:
            page.screenshot(path=PICTURE)
        browser.close()
    assert len(rows) == 10
    values = [float(row.split("\t")[-1].replace("−", "-")) for row in rows]
    assert values == sorted(values)


READ_THE_SLICE = """
import json

import safetensors.torch
import torch

from slicer_core.examples import load_digits
from tensorboard_loss_slicer import read_events

(event,) = read_events("runs/sgd/loss_slicer")
state = safetensors.torch.load_file("checkpoints_examples/digits_mlp/sgd/checkpoints/step-002000.safetensors")
(images, labels), _ = load_digits()
hidden = torch.relu(images @ state["0.weight"].T)
output = torch.relu(hidden @ state["2.weight"].T) @ state["4.weight"].T
values = event.data.axes[0].values.tolist()
print(json.dumps({
    "slice_type": event.data.slice_type,
    "shape": list(event.data.loss.shape),
    "center": event.data.center.loss["train"],
    "without_biases": float(event.data.loss[min(range(41), key=lambda index: abs(values[index] + 0.5))]),
    "own": torch.nn.functional.cross_entropy(output, labels).item(),
}))
"""
