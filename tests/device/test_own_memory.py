"""Whole jobs on a device of its own memory: what a GPU asks of the code above it, where there is none.

They run there as on the CPU, with the same numbers. Nothing that is a GPU's own is tried: its
kernels, its streams, its graphs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import own_memory_jobs as jobs
import own_memory_subject as subject
from own_memory import NAME, build
from tensorboard_loss_slicer.log_selection import select_slices

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a short training, with its optimizer."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    network, (x, y) = subject.Network(), subject.data(1)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for step in range(21):
        if step % 10 == 0:
            state = {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(state, folder / f"step_{step}.pt")
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    return folder


@pytest.fixture(scope="module")
def runs(library: Path, checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Device -> where its logs are, and what each job told."""
    found = {}
    for device, given in (("cpu", []), (NAME, [library])):
        logdir = tmp_path_factory.mktemp(device)
        ran = subprocess.run(
            [sys.executable, jobs.__file__, device, checkpoints, logdir, *given],
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        told = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"job"')]
        found[device] = logdir, {each["job"]: each for each in told}
    return found


def slices(logdir: Path, job: str) -> dict[tuple[str, int], Any]:
    chosen = select_slices(logdir / job.replace(" ", "-"), steps="all")
    return {(each.tag, each.step): each.data for each in chosen}


@pytest.mark.parametrize("job", jobs.JOBS)
def test_a_job_has_the_numbers_of_the_cpu(job: str, runs: dict[str, tuple[Path, Any]]) -> None:
    (logdir, told), (own_logdir, own_told) = runs["cpu"], runs[NAME]
    assert (told[job]["status"], own_told[job]["status"]) == (0, 0)
    expected, found = slices(logdir, job), slices(own_logdir, job)
    assert found.keys() == expected.keys()
    # In bfloat16 a sample may fall on the other side of a metric.
    tolerance, passed_over = (1e-2, {"correct"}) if job == "bfloat16" else (1e-4, set())
    for key, ours in found.items():
        assert ours.evaluation["device"] == NAME
        if (named := job.rpartition(" ")[2]) in jobs.STRATEGIES:
            assert ours.evaluation["strategy"] == named, ours.evaluation["reason"]
        for one, other in zip(ours.arrays, expected[key].arrays, strict=True):
            assert (one.name, one.split, one.role) == (other.name, other.split, other.role)
            if one.name in passed_over:
                continue
            scale = np.abs(other.values).max()
            np.testing.assert_allclose(one.values, other.values, rtol=0, atol=tolerance * scale, err_msg=one.name)


def test_points_are_not_waited_for_nor_copied_one_by_one(runs: dict[str, tuple[Path, Any]]) -> None:
    _, told = runs[NAME]
    few, many = (told[f"strategy {name}"]["waits and copies"] for name in ("partial", "partial on 64 points"))
    assert min(few) > 0
    assert many == few
