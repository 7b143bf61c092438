"""What one of several worker processes of a run has of its machine."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from slicer_core.errors import ResourceError
from slicer_core.executors.processes import Processes
from slicer_core.job import Job, Reporter
from slicer_core.job.executor import open_executor, worker_job
from slicer_core.job.prepare import prepare
from slicer_core.job.workers import memory_of_worker, worker_environment


@pytest.mark.parametrize(
    ("visible", "device", "expected"),
    [
        ("", "auto", ["0", "1", "2", "0"]),
        ("", "cuda", ["0", "1", "2", "0"]),
        ("", "cuda:1", ["1", "1", "1", "1"]),
        ("5,7", "cuda", ["5", "7", "5", "7"]),
        ("5,7", "cuda:1", ["7", "7", "7", "7"]),
    ],
)
def test_each_worker_sees_the_gpu_that_was_named_or_its_share_of_all(
    visible: str, device: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    found = [worker_environment(number, 4, device)["CUDA_VISIBLE_DEVICES"] for number in range(4)]
    assert found == expected


@pytest.mark.parametrize(
    ("workers", "device", "named", "expected"),
    [
        (None, "cpu", False, 1000),
        (1, "cuda", False, 1000),
        (4, "cpu", False, 250),
        (4, "cuda", True, 250),
        (4, "cuda", False, 500),
        (3, "cuda", False, 1000),
    ],
)
def test_workers_share_the_memory_of_the_device_that_they_are_on(
    workers: int | None, device: str, named: bool, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert memory_of_worker(1000, workers, torch.device(device), named=named) == expected


def test_without_a_budget_each_of_several_workers_has_its_part_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("slicer_core.evaluate.memory.free_host_memory", lambda: 9000)
    assert memory_of_worker(None, 3, torch.device("cpu"), named=False) == 3000
    assert memory_of_worker(None, None, torch.device("cpu"), named=False) is None


def test_a_worker_is_told_its_part_of_the_budget(make_job: Callable[..., Job]) -> None:
    prepared = prepare(make_job(workers=2, memory_budget="1GiB"), Reporter())
    assert prepared.settings.memory_budget == 2**29
    assert prepare(worker_job(prepared), Reporter()).settings.memory_budget == 2**29


def test_what_shares_a_machine_of_a_cluster_shares_the_budget(make_job: Callable[..., Job]) -> None:
    prepared = prepare(make_job(memory_budget="1GiB"), Reporter(), beside=lambda device: {"cpu": 4}[device])
    assert prepared.settings.memory_budget == 2**28


def test_a_worker_that_is_not_up_yet_hears_no_interrupt_of_its_terminal(tmp_path: Path) -> None:
    script = "import signal, sys; open(sys.argv[1], 'w').write(str(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    command = [sys.executable, "-c", script, str(tmp_path / "mask")]
    # It ends at once, as often as it is replaced.
    with Processes(command, None, [{}], look=lambda: None) as workers, pytest.raises(ResourceError):
        workers.run("task")
    assert "SIGINT" in (tmp_path / "mask").read_text()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_a_worker_takes_no_file_of_the_current_folder_for_a_module_of_python(
    make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(make_job(workers=2), Reporter())
    given: list[Any] = []
    monkeypatch.setattr("slicer_core.job.executor.Processes", lambda *arguments, **_: given.extend(arguments))
    open_executor(prepared, SimpleNamespace(), Reporter())  # type: ignore[arg-type] - it is for runs without workers
    command, (job, path), _ = given
    assert (job, path) == (worker_job(prepared), sys.path)
    (tmp_path / "queue.py").write_text("raise SystemExit('another module')")
    starts = [*command[: command.index("-m")], "-c", "import queue"]
    assert subprocess.run(starts, cwd=tmp_path, check=False).returncode == 0
