"""Every block of code in the pages is run, or held against what it is about. A block of no known kind fails."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
import yaml
from tensorboard.plugins.core.core_plugin import CorePluginLoader
from typer.testing import CliRunner

from loss_slicer.app import app

if TYPE_CHECKING:
    from conftest import Block, Place

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "checkpoints_examples/README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
]
# Pages whose blocks another test takes.
ELSEWHERE = {"docs/extending.md": "test_extending.py", "docs/training.md": "test_training_page.py"}
COMMANDS: dict[str, Any] = vars(typer.main.get_command(app))["commands"]

# Pages whose commands take long together: run by `make test-all`, and held against their options by `make test`.
MANY_FIGURES = ("docs/gallery.md",)

# Commands of pages that are only held against the command's options, by how they begin, each with the reason.
ONLY_PARSED = {
    "loss-slicer view": "starts TensorBoard and does not end; tests/page has it in a browser",
    "loss-slicer run --executor ray": "starts a Ray cluster; tests/reliability has one",
    "loss-slicer worker": "needs the job's other shards; tests/reliability has them",
    "loss-slicer merge": "needs what workers left; tests/reliability has that",
    "loss-slicer demo": "a training of up to a minute; tests/demos runs each",
}
# What other statuses than 0 are answers: a threshold does not hold, here on other slices than the page's.
ANSWERS = {"check": (0, 1), "compare": (0, 1)}
# The runs of pages are made small by options at their end: few points, and no capture of each network. Some need more,
# by a part of the command, each with the reason.
SMALL = ["--grid", "5", "--strategy", "loop"]
SMALLER = {
    "chars_gpt/": (["--set", "num_sequences=2"], "a language model at each point"),
    "--method bezier": (["--train-steps", "20"], "a training of the curve"),
}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.long] if page in MANY_FIGURES else [])
        for page in PAGES
        if page not in ELSEWHERE
    ],
)
def test_the_blocks_of_a_page_hold(page: str, site: SimpleNamespace, place: Callable[[str], Place]) -> None:
    found = [block for block in site.blocks(page) if block.language != "text" and not block.language.startswith("{")]
    if not found:
        return
    here = place(page)
    for block in found:
        assert block.language in KINDS, f"{block.where}: no test covers a block of language {block.language!r}"
        KINDS[block.language](block, here)


def test_the_commands_of_pages_that_take_long_are_accepted(site: SimpleNamespace) -> None:
    count = 0
    for block in (block for page in MANY_FIGURES for block in site.blocks(page)):
        assert KINDS[block.language] is run_commands
        for words in commands_of(block):
            parse(words, block)
            count += 1
    assert count > 15


def test_all_pages_are_looked_at(site: SimpleNamespace) -> None:
    assert sorted(PAGES) == sorted(site.pages())
    assert [name for name in ELSEWHERE.values() if not Path(__file__).with_name(name).exists()] == []


def test_each_exception_is_of_a_command_that_a_page_has(site: SimpleNamespace) -> None:
    texts = "\n".join(block.text.replace("\\\n", " ") for page in PAGES for block in site.blocks(page))
    assert [start for start in ONLY_PARSED if start not in texts] == []
    assert [part for part in SMALLER if part not in texts] == []


def run_python(block: Block, here: Place) -> None:
    """The block, with the names of those before it. One that defines `build` is the module of later commands too."""
    if re.search(r"^def build\(", block.text, re.MULTILINE):
        (here.folder / "subject.py").write_text(block.text)
    # Lines as in the page, so that a traceback shows them.
    source = "\n" * block.line + block.text
    exec(compile(source, block.page, "exec"), here.names)


def run_commands(block: Block, here: Place) -> None:
    for words in commands_of(block):
        rest = dict(PROGRAMS).get(Path(words[0]).name)
        assert rest is not None, f"{block.where}: no test covers the command {words[0]!r}; give the block its language"
        rest(words, block, here)


def commands_of(block: Block) -> Iterator[list[str]]:
    """The words of each command, without comments, variables before it and prompts."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words:
            yield words


def run_loss_slicer(words: list[str], block: Block, here: Place) -> None:
    parse(words, block)
    line = shlex.join(words)
    if any(line.startswith(start) for start in ONLY_PARSED):
        return
    arguments = words[1:]
    if words[1] == "run":
        arguments += SMALL
        for part, (options, _) in SMALLER.items():
            arguments += options if part in line else []
    done = CliRunner().invoke(app, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code in ANSWERS.get(words[1], (0,)), f"{block.where}: {line}\n{done.output}"


def parse(words: list[str], block: Block) -> None:
    """Fails where the command has no such option, or the option no such value."""
    assert words[1] in COMMANDS or words[1].startswith("-"), f"{block.where}: no command {words[1]!r}"
    if words[1] in COMMANDS:
        COMMANDS[words[1]].make_context(words[1], words[2:])


def check_make(words: list[str], block: Block, here: Place) -> None:
    """Targets only: they would run this very test, or install what is installed."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    wanted = [word for word in words[1:] if "=" not in word]
    assert wanted, block.where
    assert set(wanted) <= set(targets), f"{block.where}: {words}"


def check_pip(words: list[str], block: Block, here: Place) -> None:
    """That each extra is one of ours; installing the wheel is tests/packaging."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for word in words:
        if word.startswith(project["name"]):
            extras = re.findall(r"[\w-]+", word.partition("[")[2])
            assert set(extras) <= set(project["optional-dependencies"]), f"{block.where}: {word}"


def check_tensorboard(words: list[str], block: Block, here: Place) -> None:
    """By TensorBoard's own parser; it would not end."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    CorePluginLoader().define_flags(parser)
    assert parser.parse_args(words[1:]).logdir, block.where


def check_python(words: list[str], block: Block, here: Place) -> None:
    """That the script, test or module is there and takes the options; each has tests or is a benchmark."""
    if words[1] == "-c":
        exec(compile(words[2], block.page, "exec"), {})
        return
    if words[1] == "-m":
        assert importlib.util.find_spec(words[2]) is not None, f"{block.where}: {words[2]}"
        paths = [word.partition("::")[0] for word in words[3:] if word.startswith("tests/")]
        assert [path for path in paths if not (ROOT / path).exists()] == [], block.where
        return
    source = (ROOT / words[1]).read_text()
    missing = [word for word in words[2:] if word.startswith("--") and f'"{word.partition("=")[0]}"' not in source]
    assert missing == [], f"{block.where}: {words}"


def check_npm(words: list[str], block: Block, here: Place) -> None:
    scripts = json.loads((ROOT / "frontend" / "package.json").read_text())["scripts"]
    assert words[1] in ("ci", "install") or words[2] in scripts, f"{block.where}: {words}"


def check_folder(words: list[str], block: Block, here: Place) -> None:
    assert (ROOT / words[1]).is_dir(), f"{block.where}: {words}"


def check_script(block: Block, here: Place) -> None:
    """A job script: bash reads it, and the commands in it have the options that they are given."""
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    for line in re.findall(r"loss-slicer .*", block.text):
        parse(shlex.split(line.rstrip("& "), comments=True), block)


def check_yaml(block: Block, here: Place) -> None:
    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                yield from texts(item)

    for text in texts(yaml.safe_load(block.text)):
        for line in re.findall(r"loss-slicer .*", text):
            parse(shlex.split(re.sub(r"\$\(\(.*?\)\)", "1", line)), block)
        for line in re.findall(r"pip install .*", text):
            check_pip(shlex.split(line), block, here)


def check_json(block: Block, here: Place) -> None:
    json.loads(block.text)


def check_toml(block: Block, here: Place) -> None:
    tomllib.loads(block.text)


def check_javascript(block: Block, here: Place) -> None:
    node = shutil.which("node")
    assert node is not None, "the page needs Node.js to be built, so it is there"
    script = here.folder / "block.mjs"
    script.write_text(block.text)
    subprocess.run([node, "--check", str(script)], check=True)


PROGRAMS: dict[str, Callable[[list[str], Block, Place], None]] = {
    "loss-slicer": run_loss_slicer,
    "make": check_make,
    "pip": check_pip,
    "tensorboard": check_tensorboard,
    "python": check_python,
    "python3": check_python,
    "npm": check_npm,
    "cd": check_folder,
}
KINDS: dict[str, Callable[[Block, Place], None]] = {
    "python": run_python,
    "": run_commands,
    "console": run_commands,
    "bash": check_script,
    "yaml": check_yaml,
    "json": check_json,
    "toml": check_toml,
    "js": check_javascript,
}
