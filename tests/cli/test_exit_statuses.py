"""The exit statuses that scripts depend on, from real processes. Those of signals are in test_run_stops.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest
from typer.testing import Result

Process = Callable[..., CompletedProcess[str]]
SMALL = ("--method", "random1d", "--grid", "3")


@pytest.fixture
def run(workplace: Path, tools: SimpleNamespace) -> Process:
    def process(*options: object) -> CompletedProcess[str]:
        return tools.run_forked("run", "--module", tools.MODULE, "--checkpoints", "sgd/checkpoints", *SMALL, *options)

    return process


def test_0_done_and_0_already_done(run: Process, workplace: Path) -> None:
    first = run()
    assert (first.returncode, "nothing was computed" in first.stdout) == (0, False)
    again = run()
    assert (again.returncode, "nothing was computed" in again.stdout) == (0, True)


def test_2_bad_usage_and_nothing_written(run: Process, workplace: Path) -> None:
    before = sorted(workplace.rglob("*"))
    refused = run("--params", "nothing*")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert "Traceback" not in refused.stderr
    assert sorted(workplace.rglob("*")) == before


def test_3_some_checkpoints_failed(run: Process, workplace: Path) -> None:
    (workplace / "sgd/checkpoints/step-000007.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    done = run()
    assert done.returncode == 3
    assert (workplace / "runs/sgd/loss_slicer/slices.sqlite").is_file()


def test_70_an_error_of_our_own_asks_for_a_report(workplace: Path, tools: SimpleNamespace) -> None:
    (workplace / "faulty.py").write_text(
        tools.MODULE.read_text() + "\nimport slicer_core.job.source\nslicer_core.job.source.encode_slice = None\n"
    )
    options = ("run", "--module", "faulty.py", "--checkpoints", "sgd/checkpoints", *SMALL)
    done = tools.run_process(*options, cwd=workplace)
    assert done.returncode == 70
    last = done.stderr.splitlines()[-1]
    assert last.startswith("internal error: TypeError: ")
    assert "--verbose" in last
    assert "Traceback" not in done.stderr


def test_where_it_was_is_shown_on_demand(
    call: Callable[..., Result], tools: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slicer_core.job.source.encode_slice", None)
    done = call("run", "--module", tools.MODULE, "--checkpoints", "sgd/checkpoints", *SMALL, "--verbose")
    assert done.exit_code == 70
    assert "Traceback" in done.stderr
    assert "job/source.py" in done.stderr
