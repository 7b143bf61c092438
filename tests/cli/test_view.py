"""`loss-slicer view`: which process it becomes. TensorBoard itself is started in tests/page."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result


def test_no_file_of_the_current_folder_is_taken_for_a_module_of_python(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("runs").mkdir()
    Path("queue.py").write_text("raise SystemExit('another module')")
    given: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, command: given.append(command))
    assert call("view", "runs", "--port", "0").exit_code == 0
    (command,) = given
    at = command.index("-m")
    assert command[at:] == ["-m", "tensorboard.main", "--logdir", "runs", "--port", "0"]
    assert subprocess.run([*command[:at], "-c", "import queue"], check=False).returncode == 0
