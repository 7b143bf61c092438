"""`--help` everywhere: quick to answer, and not an option without a word on it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer.main
from typer.testing import CliRunner, Result

from loss_slicer.app import app
from slicer_core.methods import METHODS
from slicer_core.version import __version__

Call = Callable[..., Result]

COMMAND = typer.main.get_command(app)
COMMANDS: dict[str, object] = vars(COMMAND)["commands"]
# What takes its time to import, or is only there to compute.
HEAVY = ("torch", "numpy", "tensorboard", "google.protobuf", "safetensors", "tqdm", "sqlite3", "rich.progress")


def parameters(name: str) -> list[object]:
    return vars(COMMANDS[name])["params"]


def test_the_help_needs_nothing_that_is_slow_to_import() -> None:
    code = f"import sys, loss_slicer.app; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_look_at_safetensors_imports_no_more_than_it_reads_with() -> None:
    folder = Path(__file__).resolve().parents[2] / "checkpoints_examples" / "digits_mlp" / "sgd" / "checkpoints"
    code = (
        "import sys; from loss_slicer.app import app\n"
        "try: app()\n"
        f"finally: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, "inspect", folder], capture_output=True, text=True, check=True)
    assert "step-002000.safetensors" in done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", ["status", "rebuild", "export", "check", "compare"])
def test_what_only_reads_a_log_imports_no_torch(name: str, tmp_path: Path) -> None:
    arguments = {"export": ["--format", "json"], "compare": [str(tmp_path)], "check": ["--no-nonfinite"]}.get(name, [])
    code = "import sys; from loss_slicer.app import app\ntry: app()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, name, tmp_path, *arguments], capture_output=True, text=True, check=False
    )
    # There is no log: it got as far as to look for one.
    assert done.returncode in (0, 2), done.stderr
    assert str(tmp_path) in done.stderr + done.stdout
    assert done.stdout.strip().endswith("False")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_and_argument_has_a_help(name: str) -> None:
    without = [vars(parameter)["name"] for parameter in parameters(name) if not getattr(parameter, "help", None)]
    assert without == []


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_each_command_answers_to_both_flags(flag: str) -> None:
    for arguments in ([], *([name] for name in COMMANDS)):
        shown = CliRunner().invoke(app, [*arguments, flag])
        assert shown.exit_code == 0
        assert "Usage: " in shown.stdout
        assert "\x1b" not in shown.stdout


def test_the_help_of_run_shows_every_option_in_a_panel_of_its_kind() -> None:
    shown = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).stdout
    panels = re.findall(r"─ ([A-Z][\w\s-]+?) ─", shown)
    assert panels[1:5] == ["What to slice", "The slice", "How it is evaluated", "Where it goes"]
    for row in METHODS.values():
        if row.options:
            assert any(panel.startswith("Only for --method ") and row.name in panel.split() for panel in panels)
        assert all(option.flag in shown for option in row.options)
    flags = {flag for parameter in parameters("run") for flag in vars(parameter)["opts"] if flag.startswith("--")}
    contract = (
        "checkpoints method module set steps grid range normalize ignore params exclude seed center scale-from split "
        "weight-decay samples batch-size metrics batchnorm device dtype strategy compile workers memory-budget "
        "tolerance logdir name fresh dry-run json config "
        "print-config quiet verbose"
    )
    assert {f"--{name}" for name in contract.split()} <= flags
    assert all(flag in shown for flag in flags)
    for status in ("0 done", "2 bad usage", "3 some checkpoints failed", "70 internal", "75 stopped", "130"):
        assert status in re.sub(r"\s+", " ", shown)


def test_without_a_command_there_is_the_help() -> None:
    shown = CliRunner().invoke(app, [])
    assert "Commands" in shown.stdout + shown.stderr


def test_the_version_is_the_distributions(workplace: Path, tools: SimpleNamespace) -> None:
    done = tools.run_process("--version", cwd=workplace)
    assert (done.returncode, done.stdout) == (0, f"loss-slicer {__version__}\n")
    as_module = subprocess.run(
        [sys.executable, "-m", "loss_slicer", "--version"], capture_output=True, text=True, check=True
    )
    assert as_module.stdout == done.stdout


def test_view_refuses_a_log_that_is_not_there(call: Call) -> None:
    for arguments in (["view"], ["view", "nowhere"], ["view", "sgd/checkpoints/step-000000.safetensors"]):
        refused = call(*arguments)
        assert refused.exit_code == 2
        assert "there is no log directory" in refused.stderr
        assert refused.stdout == ""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("loss-slicer run --method ran", ["random1d", "random2d"]),
        ("loss-slicer run --normalize f --dtype b", ["bfloat16"]),
        # Names of files are the shell's own.
        ("loss-slicer run --checkpoints t", []),
    ],
)
def test_a_shell_is_offered_the_words_of_an_option(typed: str, offered: list[str]) -> None:
    asked = {"_LOSS_SLICER_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    reply = CliRunner().invoke(app, env=asked, prog_name="loss-slicer")
    assert reply.output.split() == offered
