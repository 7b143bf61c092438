"""`--workers 2`: the numbers of one process, whatever becomes of a worker."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from slicer_core.order import coarse_to_fine


def test_two_workers_share_the_tiles_and_give_the_same_bits(
    workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    done = long_jobs.run("--workers", "2", PROCESSES="2")
    assert done.returncode == 0, done.stderr
    assert long_jobs.arrays() == undisturbed
    processes = [line.split()[0] for line in Path("evaluated").read_text().splitlines()]
    # The run itself evaluates nothing.
    counts = sorted(processes.count(process) for process in set(processes))
    assert len(counts) == 2
    assert sum(counts) > 2 * 81


@pytest.mark.parametrize("kind", ["kill", "hang"])
def test_a_worker_that_dies_or_hangs_is_replaced_and_its_tile_run_again(
    kind: str, workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    done = long_jobs.run("--workers", "2", FAULT=f"once:{kind}", LOSS_SLICER_TILE_TIMEOUT="3")
    assert done.returncode == 0, done.stderr
    assert Path("happened").exists()
    assert long_jobs.arrays() == undisturbed


def test_memory_that_a_worker_can_not_have_is_told_with_what_helps_and_that_helps(
    workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    """400 samples of 4 MiB each do not fit into the 1 GiB that the process may still have, 50 do."""
    limits = {"MEMORY_LEFT": str(2**30), "BYTES_A_SAMPLE": str(2**22)}
    failed = long_jobs.run("--workers", "2", "--steps", "first", **limits)
    assert failed.returncode == 2, failed.stderr
    assert "one point on a batch of 400 samples does not fit the memory: give a smaller --batch-size" in failed.stderr
    done = long_jobs.run("--workers", "2", "--steps", "first", "--batch-size", "50", **limits)
    assert done.returncode == 0, done.stderr
    key = ("random2d", 0, "loss", "value")
    np.testing.assert_allclose(np.frombuffer(long_jobs.arrays()[key]), np.frombuffer(undisturbed[key]), rtol=1e-6)


def test_a_tile_that_kills_three_workers_is_set_aside_and_the_rest_is_done(
    workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    """At one point the process ends as the kernel ends one that is out of memory."""
    losses = np.frombuffer(undisturbed["random2d", 0, "loss", "value"])
    fatal = float(losses[coarse_to_fine((9, 9), "grid")[40]])
    done = long_jobs.run("--workers", "2", FAULT="always:memory", FAULT_AT=repr(fatal))
    assert done.returncode == 3, done.stderr
    assert "is set aside: 3 worker processes were lost with it (the last one ended with status 137)" in done.stderr
    there = len(long_jobs.tiles())
    again = long_jobs.run()
    assert again.returncode == 0, again.stderr
    assert long_jobs.arrays() == undisturbed
    # How many points a tile has depends on how long one took, so their number is not told.
    assert len(long_jobs.tiles()) > there > 0
