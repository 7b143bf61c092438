"""Measures in a run: kept with the slice, and added to it without evaluating its points again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import StopRequested, UsageError
from slicer_core.examples import load_digits
from slicer_core.job import FinishedSlice, Job, Reporter, estimate, run_job
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
    needs = "--measures sharpness needs gradients of all parameters at once, and "
    with pytest.raises(UsageError, match=f"{needs}--strategy streaming never holds them: .* take another --strategy"):
        run_job(make_job(measures="sharpness", strategy="streaming"))
    with pytest.raises(UsageError, match=f"{needs}they do not fit the memory .* give more with --memory-budget"):
        run_job(make_job(measures="sharpness", memory_budget="50kB"))
    assert not RUN_DIR.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [({"strategy": "streaming"}, "--strategy streaming never holds"), ({"memory_budget": "50kB"}, "do not fit")],
)
def test_a_slicer_refuses_them_before_it_evaluates(options: dict[str, Any], told: str) -> None:
    model, (train, _) = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10)), load_digits()
    shares: list[float] = []
    slicer = RandomDirectionSlicer(
        ModelWrapper(model, nn.CrossEntropyLoss(), train),
        settings=EvaluationSettings(**options),
        measures=["sharpness"],
        progress=False,
        watch=shares.append,
    )
    with pytest.raises(UsageError, match=told):
        slicer.slice_1d(n_samples=3)
    assert shares == []


def test_gradient_norms_and_losses_per_class_are_arrays_of_the_slice(make_job: MakeJob) -> None:
    job = make_job(gradient_norm=True, per_class=True, metrics="none", split="both", steps="200")
    cost = estimate(job)
    (finished,) = run(job)
    names = [(array.name, array.split) for array in finished.data.arrays if array.role == "value"]
    classes = [(f"class_{label}", split) for label in range(10) for split in ("train", "test")]
    assert names == [
        ("loss", "train"),
        ("loss", "test"),
        *classes,
        ("gradient_norm", "train"),
        ("gradient_norm", "test"),
    ]
    assert (finished.data.array("gradient_norm") > 0).all()
    assert cost.bytes_written == sum(array.values.nbytes for array in finished.data.arrays)
    # A pass at each of three points and at the center, on each split's batches.
    assert cost.backward_passes == 4 * sum(finished.data.evaluation["batches"].values())
    (again,) = run(job)
    assert again.stored

    later = run(make_job(per_class=True, metrics="none", split="both", steps="200"))[0]
    assert later.stored
    other = run(make_job(metrics="none", split="both", steps="200"))[0]
    assert not other.stored
    assert "gradient_norm" not in other.data.measures
    assert np.array_equal(other.data.loss, finished.data.loss)


def test_what_a_map_costs_is_that_of_the_points_it_is_computed_at(make_job: MakeJob) -> None:
    """13 of 15 along the first axis, at some 80 passes each; four arrays, and where each of them is interpolated."""
    job = {"method": "random2d", "grid": "15x3", "metrics": "none", "steps": "200"}
    plain, cost = estimate(make_job(**job)), estimate(make_job(**job, measures="curvature_map"))
    assert cost.backward_passes * plain.points == 80 * 13 * 3 * plain.forward_passes
    assert cost.bytes_written - plain.bytes_written == 45 * 8 * 8


def test_a_measure_without_its_extra_is_told_before_anything_is_evaluated(
    make_job: MakeJob, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "curvlinops", None)
    with pytest.raises(UsageError, match=r"--measures eigenvalues needs curvlinops, .*\[curvature\]"):
        run_job(make_job(measures="all", steps="200"))
    assert not (workplace / "runs").exists()


def test_all_measures_are_all_but_maps(make_job: MakeJob) -> None:
    (finished,) = run(make_job(measures="all", steps="200"))
    assert {"sam_sharpness", "sharpness", "adaptive_sharpness"} <= set(finished.data.measures)
    assert "gradient_norm" not in finished.data.measures


def test_the_reporter_is_told_of_measures_and_a_stop_comes_through(make_job: MakeJob) -> None:
    class Stopper(Reporter):
        def __init__(self, *, stop: bool) -> None:
            self.begun: list[tuple[str, int]] = []
            self.done: list[float] = []
            self._stop = stop

        def begin(self, label: str, num_points: int) -> None:
            self.begun.append((label, num_points))
            self.done.append(0.0)

        def advance(self, num_points: float) -> None:
            self.done[-1] += num_points
            if self._stop and "gradient_norm" in self.begun[-1][0]:
                raise StopRequested(75)

    job = make_job(gradient_norm=True, measures="sam_sharpness", steps="200")
    stopped = Stopper(stop=True)
    with pytest.raises(StopRequested):
        run_job(job, reporter=stopped)
    points = tiles()
    whole = Stopper(stop=False)
    (finished,) = run_job(job, reporter=whole).slices
    assert tiles() == points
    assert "gradient_norm" in finished.data.measures
    expected = [("sgd, step 200", 3), ("sgd, step 200, sam_sharpness", 1), ("sgd, step 200, gradient_norm", 3)]
    assert whole.begun == expected
    assert whole.done == pytest.approx([3.0, 1.0, 3.0])
