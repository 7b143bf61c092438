"""What `loss-slicer run` shows: on a terminal, in a pipe, as JSON, and to whom."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import Result

from loss_slicer.progress import LineReporter
from loss_slicer.signals import Stop

Run = Callable[..., Result]
SMALL = ("--method", "random1d", "--grid", "3")


@dataclass(frozen=True, kw_only=True)
class OnTerminal:
    status: int
    raw: str

    @property
    def text(self) -> str:
        """Without the codes that color and move."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw)


def on_terminal(command: list[str], cwd: Path, environment: dict[str, str]) -> OnTerminal:
    """Runs the command on a pseudo-terminal of 40 rows and 100 columns."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    variables = {name: value for name, value in environment.items() if name != "COLUMNS"} | {"TERM": "xterm-256color"}
    process = subprocess.Popen(command, cwd=cwd, env=variables, stdin=other, stdout=other, stderr=other)
    os.close(other)
    shown = b""
    while True:
        try:
            some = os.read(main, 1 << 16)
        except OSError:
            # What Linux says when nobody has the terminal open any more.
            break
        if not some:
            break
        shown += some
    os.close(main)
    return OnTerminal(status=process.wait(), raw=shown.decode())


def test_on_a_terminal_there_is_a_bar_and_then_a_table_and_a_colored_picture(
    workplace: Path, tools: SimpleNamespace
) -> None:
    command = [tools.COMMAND, "run", "--module", str(tools.MODULE), "--checkpoints", "sgd/checkpoints", "--grid", "9"]
    shown = on_terminal(command, workplace, tools.environment())
    assert shown.status == 0
    assert "━" in shown.text
    assert "/81" in shown.text
    assert "sgd  step 2000  loss train 0.023" in shown.text
    assert re.search(r"source +step +loss at center", shown.text)
    assert "▀" in shown.text
    assert re.search(r"\x1b\[[0-9;]*48;5;", shown.raw)
    assert "loss-slicer view runs" in shown.text


def test_in_a_pipe_there_are_plain_lines_without_control_codes(workplace: Path, tools: SimpleNamespace) -> None:
    done = tools.run_process(
        "run",
        "--module",
        tools.MODULE,
        "--checkpoints",
        "sgd/checkpoints",
        "--grid",
        "9",
        "--verbose",
        "--strategy",
        "loop",
        cwd=workplace,
    )
    assert done.returncode == 0
    for text in (done.stdout, done.stderr):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    assert [line.split("  ")[:2] for line in done.stderr.splitlines()[1:]] == [
        ["sgd", "step 0"],
        ["sgd", "step 200"],
        ["sgd", "step 2000"],
    ]
    assert "strategy loop, device cpu" in done.stderr
    assert re.search(r"source +step +loss at center", done.stdout)
    assert "log scale" in done.stdout


def test_the_module_is_named_before_it_runs(workplace: Path, tools: SimpleNamespace) -> None:
    (workplace / "loud.py").write_text("import sys\nprint('it runs', file=sys.stderr)\n")
    done = tools.run_forked("run", "--module", "loud.py", "--checkpoints", "sgd/checkpoints")
    lines = done.stderr.splitlines()
    assert lines[0] == "module: loud.py (--module)"
    assert lines[1] == "it runs"


def test_json_is_one_document_and_all_else_is_on_stderr(workplace: Path, tools: SimpleNamespace) -> None:
    (workplace / "sgd/checkpoints/step-000007.pt").write_bytes(b"PK\x03\x04 and then nothing")
    done = tools.run_forked("run", "--module", tools.MODULE, "--checkpoints", "sgd/checkpoints", *SMALL, "--json")
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert (document["schema"], document["status"], document["new"]) == (1, "failures", 3)
    assert [(entry["step"], entry["stored"]) for entry in document["slices"]] == [
        (0, False),
        (200, False),
        (2000, False),
    ]
    (failure,) = document["failures"]
    assert failure["path"] == "sgd/checkpoints/step-000007.pt"
    assert "step-000007.pt" in failure["error"]
    for entry in document["slices"]:
        assert entry["run_dir"] == "runs/sgd/loss_slicer"
        # What an array holds is in the log; here is what is known of it.
        assert all("values" not in array and "min" in array for array in entry["header"]["arrays"])
    assert done.stdout.isascii()
    assert "step 2000" in done.stderr
    assert "failed:" in done.stderr


def test_what_the_module_prints_is_not_among_the_json(call: Run, tools: SimpleNamespace) -> None:
    loud = tools.MODULE.read_text().replace("    train_data, test", "    print('reading data')\n    train_data, test")
    Path("loud.py").write_text(loud)
    options = ("--module", "loud.py")
    for arguments in (
        ("run", "--checkpoints", "sgd/checkpoints", *SMALL, *options, "--json"),
        ("run", "--checkpoints", "sgd/checkpoints", *SMALL, *options, "--json", "--dry-run"),
        ("inspect", "sgd/checkpoints", *options, "--json"),
    ):
        done = call(*arguments)
        assert json.loads(done.stdout)["schema"] == 1
        assert "reading data" in done.stderr
    assert "reading data" in call("run", "--checkpoints", "sgd/checkpoints", *SMALL, *options).stdout


def test_what_its_processes_write_is_not_among_the_json(workplace: Path, tools: SimpleNamespace) -> None:
    loud = tools.MODULE.read_text() + "\nimport os\nos.write(1, b'by its number')\nos.system('echo by a process')\n"
    (workplace / "loud.py").write_text(loud)
    options = ("--module", "loud.py", "--json")
    done = tools.run_forked("run", "--checkpoints", "sgd/checkpoints", *SMALL, *options, "--dry-run")
    assert json.loads(done.stdout)["schema"] == 1
    assert "by its number" in done.stderr
    assert "by a process" in done.stderr


def test_quiet_says_nothing_but_errors(run: Run, workplace: Path) -> None:
    done = run(*SMALL, "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    (workplace / "sgd/checkpoints/step-000007.pt").write_bytes(b"PK\x03\x04 and then nothing")
    done = run(*SMALL, "--quiet")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith("failed: sgd/checkpoints/step-000007.pt")


def test_a_reader_that_goes_away_is_no_error(workplace: Path, tools: SimpleNamespace) -> None:
    """As in `loss-slicer run … | head -1`: nobody reads on, neither the progress nor the result."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    arguments = ["run", "--module", str(tools.MODULE), "--checkpoints", "sgd/checkpoints", *SMALL]
    done = subprocess.run(
        [tools.COMMAND, *arguments], cwd=workplace, env=tools.environment(), stdout=write_end, stderr=write_end,
        check=False, timeout=60,
    )  # fmt: skip
    os.close(write_end)
    assert done.returncode == 0
    assert len(tools.read_log(workplace / "runs")["sgd/loss_slicer"]["random1d"]) == 3


def test_names_that_the_terminal_can_not_show_are_no_error(workplace: Path, tools: SimpleNamespace) -> None:
    home = workplace / os.fsdecode("α\x1b[31m".encode() + b"\xff")
    (workplace / "sgd").rename(home)
    options = ("run", "--module", tools.MODULE, "--checkpoints", home / "checkpoints", *SMALL, "--name", "τ\x1b[2J")
    shown = tools.run_process(*options, cwd=workplace, PYTHONIOENCODING="ascii")
    assert shown.returncode == 0, shown.stderr
    assert "\x1b" not in shown.stdout + shown.stderr
    as_json = tools.run_forked(*options, "--json", PYTHONIOENCODING="ascii")
    assert [entry["tag"] for entry in json.loads(as_json.stdout)["slices"]] == ["τ\x1b[2J"] * 3


def test_folders_that_differ_in_bytes_that_are_not_utf8_have_a_run_each(run: Run) -> None:
    for byte, step in ((b"\xff", "000000"), (b"\xfe", "002000")):
        Path(os.fsdecode(byte)).mkdir()
        (Path("sgd/checkpoints") / f"step-{step}.safetensors").rename(Path(os.fsdecode(byte), "step-1.safetensors"))
    done = run(*SMALL, "--checkpoints", os.fsdecode(b"\xff"), checkpoints=os.fsdecode(b"\xfe"))
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in Path("runs").iterdir()) == ["%FE", "%FF"]
    assert "leave the log" not in done.stderr


def test_a_long_slice_says_in_a_pipe_how_far_it_is(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LineReporter, "SECONDS_BETWEEN_LINES", 0.0)
    reporter = LineReporter(Stop(), verbose=False)
    reporter.begin("sgd, step 3", 4000)
    reporter.advance(1000)
    assert re.fullmatch(r"sgd, step 3: 1,000 of 4,000 points, about \d+ s left\n", capsys.readouterr().err)


def test_epochs_are_called_epochs(run: Run) -> None:
    Path("epochs").mkdir()
    # Without what the file says of its step.
    save_file(load_file("sgd/checkpoints/step-002000.safetensors"), "epochs/epoch_3.safetensors")
    done = run(*SMALL, checkpoints="epochs")
    assert "epochs, random1d, epoch 3" in done.stdout
    assert "epoch 3  loss train" in done.stderr
    assert len(re.findall(r"^source +epoch  ", done.stdout, re.MULTILINE)) == 2
    # Beside steps, each has its unit.
    mixed = run(*SMALL, "--checkpoints", "sgd/checkpoints", checkpoints="epochs").stdout
    assert len(re.findall(r"^source +step  ", mixed, re.MULTILINE)) == 2
    assert len(re.findall(r"^epochs +epoch 3  ", mixed, re.MULTILINE)) == 2
    assert len(re.findall(r"^sgd +step 200  ", mixed, re.MULTILINE)) == 2


def test_of_many_slices_some_are_drawn(run: Run, tools: SimpleNamespace) -> None:
    tools.copy_checkpoints("sgd", Path("sgd"), (10, 20, 40))
    done = run(*SMALL)
    assert "(2 of 6 slices are drawn here)" in done.stdout
    assert re.findall(r"sgd, random1d, step (\d+)", done.stdout) == ["0", "2000"]
    # A row in the table of losses, and one in that of measures.
    assert len(re.findall(r"^sgd +\d+", done.stdout, re.MULTILINE)) == 12
