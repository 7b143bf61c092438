"""Measures in a run: kept with the slice, and added to it without evaluating its points again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slicer_core.errors import UsageError
from slicer_core.job import FinishedSlice, Job, run_job
from slicer_core.store import FILE_NAME, Store
from tensorboard_loss_slicer.event_files import read_events
from tensorboard_loss_slicer.job_log import JobLog

MakeJob = Callable[..., Job]
RUN_DIR = Path("runs/sgd/loss_slicer")


def tiles() -> list[tuple[Any, ...]]:
    with Store(RUN_DIR / FILE_NAME) as store:
        return store._connection.execute("SELECT tile, split, metric, created FROM tiles").fetchall()


def run(job: Job) -> list[FinishedSlice]:
    with JobLog() as log:
        return list(run_job(job, log).slices)


def test_a_measure_that_is_asked_for_later_is_added_to_what_is_there(make_job: MakeJob) -> None:
    first = run(make_job())
    assert all("width" in finished.data.measures for finished in first)
    assert not any("sam_sharpness" in finished.data.measures for finished in first)
    before = tiles()

    second = run(make_job(measures="sam_sharpness"))
    assert tiles() == before
    for old, new in zip(first, second, strict=True):
        assert not new.stored
        assert np.array_equal(old.data.loss, new.data.loss)
        assert set(new.data.measures) == {*old.data.measures, "sam_sharpness"}
    logged = list(read_events(RUN_DIR))
    assert [event.step for event in logged] == [0, 200, 2000]

    for again in (run(make_job(measures="sam_sharpness")), run(make_job())):
        assert all(finished.stored for finished in again)
        assert [finished.data.measures for finished in again] == [finished.data.measures for finished in second]


def test_measures_are_taken_on_each_split(make_job: MakeJob) -> None:
    found = run(make_job(split="both", steps="200", measures="sam_sharpness"))[0].data.measures
    assert {"width", "width_test", "sam_sharpness", "sam_sharpness_test"} <= set(found)
    # The gradient of the training loss is small near a minimum of it; that of the other split is not the same.
    assert found["sam_sharpness"].details["gradient_norm"] != found["sam_sharpness_test"].details["gradient_norm"]


def test_an_unknown_measure_is_refused_before_anything_runs(make_job: MakeJob) -> None:
    with pytest.raises(UsageError, match=r"--measures names 'sharpnes' \(nearest: sharpness"):
        make_job(measures="sharpnes")
    assert not RUN_DIR.exists()


def test_streaming_refuses_measures_that_need_gradients(make_job: MakeJob) -> None:
    with pytest.raises(UsageError, match="--measures sharpness needs gradients of all parameters"):
        run_job(make_job(measures="sharpness", strategy="streaming"))
    assert not RUN_DIR.exists()
