"""Standard output and error that are closed, full, or read by nobody: neither what is said nor the status gets lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest


def in_shell(tools: SimpleNamespace, redirected: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command with the shell's redirections behind its options."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"{tools.COMMAND}" {redirected}'],
        cwd=cwd,
        env=tools.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_without_standard_error_no_message_is_written_where_the_answer_goes(
    tmp_path: Path, tools: SimpleNamespace
) -> None:
    done = in_shell(tools, "status nowhere 2>&-", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("command", ["methods --json", "doctor"])
def test_without_standard_output_the_status_is_the_same(command: str, tmp_path: Path, tools: SimpleNamespace) -> None:
    expected = in_shell(tools, f"{command} >/dev/null", tmp_path)
    done = in_shell(tools, f"{command} >&-", tmp_path)
    assert (done.returncode, done.stderr) == (expected.returncode, expected.stderr)


def test_no_file_takes_the_number_of_a_closed_stream() -> None:
    opened = "from loss_slicer.streams import prepare_streams; prepare_streams(); print(open('/dev/null').fileno())"
    script = f'"{sys.executable}" -c "{opened}" 0<&- 2>&-'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) > 2


@pytest.mark.parametrize("command", ["methods --json", "run --help"])
def test_a_full_disk_under_standard_output_is_told(command: str, tmp_path: Path, tools: SimpleNamespace) -> None:
    done = in_shell(tools, f"{command} >/dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: standard output can't be written: No space left on device. See that its disk has room, then run again"
    ]


@pytest.mark.parametrize("command", ["status nowhere", "run --no-such-option"])
def test_a_full_disk_under_standard_error_does_not_change_the_status(
    command: str, tmp_path: Path, tools: SimpleNamespace
) -> None:
    assert in_shell(tools, f"{command} 2>/dev/full", tmp_path).returncode == 2


def test_a_run_goes_on_where_its_messages_have_no_room(workplace: Path, tools: SimpleNamespace) -> None:
    options = f'--module "{tools.MODULE}" --checkpoints sgd/checkpoints --steps last --method random1d --grid 3 --json'
    done = in_shell(tools, f"run {options} 2>/dev/full", workplace)
    assert done.returncode == 0
    assert json.loads(done.stdout)["new"] == 1


@pytest.mark.parametrize(
    "command, status",
    [("methods", 0), ("run --help", 0), ("run --no-such-option 2>&1", 2)],
)
def test_whoever_reads_may_go_before_the_end(command: str, status: int, tmp_path: Path, tools: SimpleNamespace) -> None:
    done = in_shell(tools, f"{command} | true", tmp_path)
    assert (done.returncode, done.stderr) == (status, "")


def test_a_check_that_fails_does_so_where_nobody_reads_its_table(workplace: Path, tools: SimpleNamespace) -> None:
    options = f'--module "{tools.MODULE}" --checkpoints sgd/checkpoints --steps last --method random1d --grid 3 -q'
    assert in_shell(tools, f"run {options}", workplace).returncode == 0
    done = in_shell(tools, "check --rule 'loss_increase < 0' | true", workplace)
    assert (done.returncode, done.stderr) == (1, "")
