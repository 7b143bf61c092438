"""`--preview`: what the log shows of a run that goes on, that is killed, and that is done."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from slicer_core.slices import Slice
from tensorboard_loss_slicer.event_files import read_events


def logged() -> dict[tuple[str, int], Slice]:
    """The slices that a reader finds now."""
    run_dir = Path("runs/sgd/loss_slicer")
    if not any(path.stat().st_size for path in run_dir.glob("*tfevents*")):
        return {}
    return {(event.tag, event.step): event.data for event in read_events(run_dir)}


def test_a_run_shows_what_it_has_so_far_also_once_it_is_killed_and_the_whole_takes_its_place(
    workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    process = long_jobs.start("-q", "--preview", SLOW="0.05")
    try:
        seen: dict[tuple[str, int], Slice] = {}
        while process.poll() is None and not seen:
            seen = logged()
            time.sleep(0.02)
    finally:
        process.kill()
        _, errors = process.communicate()
    assert list(seen) == [("random2d/preview", 0)], errors
    left = logged()["random2d/preview", 0]
    assert left.status == "provisional"
    assert 0 < left.filled < 1
    assert left.evaluation["seconds_left"] > 0
    assert left.evaluation["as_of"] <= time.time()
    # It is in the store, so the log can be made again with it.
    rebuilt = long_jobs.call("rebuild", "runs")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "was whole" in rebuilt.stdout or "made again" in rebuilt.stdout
    assert list(logged()) == [("random2d/preview", 0)]
    status = long_jobs.call("status", "runs")
    assert status.returncode == 0, status.stderr
    assert "random2d: no slice yet" in status.stdout
    done = long_jobs.run("-q", "--preview", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert long_jobs.arrays() == undisturbed
    whole = logged()["random2d", 0]
    assert whole.status == "complete"
    where = np.ix_(*(np.searchsorted(own.values, axis.values) for axis, own in zip(left.axes, whole.axes, strict=True)))
    np.testing.assert_array_equal(whole.loss[where], left.loss)
