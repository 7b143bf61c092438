"""`run_job` as a library call: what it tells, what it keeps, and how it ends."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from slicer_core.errors import CheckpointError, StopRequested, StoreError, UsageError
from slicer_core.job import FailedCheckpoint, FinishedSlice, Job, Reporter, View, estimate, run_job
from slicer_core.store import FILE_NAME, Store
from tensorboard_loss_slicer.event_files import read_events
from tensorboard_loss_slicer.job_log import JobLog

MakeJob = Callable[..., Job]
RUN_DIR = Path("runs/sgd/loss_slicer")


class Diary(Reporter):
    """Writes down what it is told; stops the run where `stop_at` is begun."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.entries: list[tuple[str, object]] = []
        self.points: list[float] = []
        self._stop_at = stop_at

    def note(self, text: str) -> None:
        self.entries.append(("note", text))

    def begin(self, label: str, num_points: int) -> None:
        if label == self._stop_at:
            raise StopRequested(75)
        self.entries.append(("begin", (label, num_points)))
        self.points.append(0.0)

    def advance(self, num_points: float) -> None:
        self.points[-1] += num_points

    def finished(self, result: FinishedSlice) -> None:
        self.entries.append(("finished", result.step))

    def failed(self, failure: FailedCheckpoint) -> None:
        self.entries.append(("failed", failure.path.name))


def logged(run_dir: Path = RUN_DIR) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for event in read_events(run_dir):
        found.setdefault(event.tag, []).append(event.step)
    return found


def test_without_a_log_the_results_are_in_the_store_and_the_answer(make_job: MakeJob) -> None:
    result = run_job(make_job())
    assert [finished.step for finished in result.slices] == [0, 200, 2000]
    assert (result.num_new, result.failures) == (3, ())
    assert sorted(path.name for path in RUN_DIR.iterdir()) == ["slices.sqlite"]
    again = run_job(make_job())
    assert again.num_new == 0
    for first, second in zip(result.slices, again.slices, strict=True):
        assert np.array_equal(first.data.loss, second.data.loss)
        assert first.wall_time == second.wall_time


def test_the_reporter_is_told_each_step_and_every_point(make_job: MakeJob) -> None:
    diary = Diary()
    run_job(make_job(split="both", batch_size=500, grid="5"), reporter=diary)
    kinds = [kind for kind, _ in diary.entries]
    assert kinds == ["note", *["begin", "finished"] * 3]
    # As many as the slice has, whatever the number of splits and batches.
    assert diary.entries[1] == ("begin", ("sgd, step 0", 5))
    assert diary.points == pytest.approx([5.0] * 3)


@pytest.mark.parametrize(("strategy", "is_kept"), [("partial-cudagraph", False), ("loop", True), ("partial", True)])
def test_a_strategy_that_does_not_run_is_told_once(strategy: str, is_kept: bool, make_job: MakeJob) -> None:
    diary = Diary()
    run_job(make_job(strategy=strategy), reporter=diary)
    notes = [text for kind, text in diary.entries if kind == "note" and str(text).startswith("--strategy")]
    told = "partial-cudagraph: CUDA graphs need a CUDA device, and the model is on cpu"
    assert notes == ([] if is_kept else [f"--strategy partial-cudagraph was not kept, loop ran: {told}"])


def test_a_failed_checkpoint_is_told_once_there_is_a_slice(make_job: MakeJob, workplace: Path) -> None:
    (workplace / "sgd/checkpoints/step-000000.safetensors").write_bytes(b"")
    diary = Diary()
    result = run_job(make_job(), reporter=diary)
    assert [entry for entry in diary.entries if entry[0] in ("failed", "finished")] == [
        ("failed", "step-000000.safetensors"), ("finished", 200), ("finished", 2000),
    ]  # fmt: skip
    assert [failure.path.name for failure in result.failures] == ["step-000000.safetensors"]
    assert isinstance(result.failures[0].error, CheckpointError)


def test_an_error_of_the_job_is_raised_and_not_told_for_each_checkpoint(make_job: MakeJob) -> None:
    diary = Diary()
    with pytest.raises(UsageError, match="matches no parameter"):
        run_job(make_job(params="nothing*"), reporter=diary)
    assert [kind for kind, _ in diary.entries] == ["note"]
    assert not Path("runs").exists()


def test_a_stop_passes_through_and_what_was_finished_is_kept(make_job: MakeJob) -> None:
    with JobLog() as log, pytest.raises(StopRequested):
        run_job(make_job(), log, Diary(stop_at="sgd, step 2000"))
    assert logged() == {"random1d": [0, 200]}
    diary = Diary()
    with JobLog() as log:
        assert run_job(make_job(), log, diary).num_new == 1
    assert [entry for entry in diary.entries if entry[0] == "begin"] == [("begin", ("sgd, step 2000", 3))]
    assert logged() == {"random1d": [0, 200, 2000]}


def test_an_event_file_that_is_removed_during_the_run_is_made_again(make_job: MakeJob) -> None:
    with JobLog() as log:

        def add(result: FinishedSlice, view: View) -> None:
            log(result, view)
            if result.step == 0:
                for file in RUN_DIR.glob("*tfevents*"):
                    file.unlink()

        run_job(make_job(), add)
    assert logged() == {"random1d": [0, 200, 2000]}


def test_a_run_whose_log_is_moved_away_stops_and_goes_on_there(make_job: MakeJob) -> None:
    with JobLog() as log:

        def add(result: FinishedSlice, view: View) -> None:
            log(result, view)
            Path("runs").rename("moved")

        found = run_job(make_job(), add)
    assert [result.step for result in found.slices] == [0]
    assert ["was moved or removed" in str(failure.error) for failure in found.failures] == [True]
    assert not Path("runs").exists()
    Path("moved").rename("runs")
    with JobLog() as log:
        assert run_job(make_job(), log).num_new == 2
    assert logged() == {"random1d": [0, 200, 2000]}


def test_a_log_that_lags_behind_is_whole_at_the_end_and_after_the_next_run_where_it_was_stopped(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensorboard_loss_slicer.job_log._PUBLISHING_SHARE", 1e-9)
    with JobLog() as log:
        run_job(make_job(steps="last"), log)
    with pytest.raises(StopRequested), JobLog() as log:
        # The first slice makes the log anew; the second is due, when the run is stopped.
        run_job(make_job(name="other"), log, Diary(stop_at="sgd, step 2000"))
    assert logged() == {"random1d": [2000], "other": [0, 200]}
    with JobLog() as log:
        run_job(make_job(), log)
    assert logged() == {"random1d": [0, 200, 2000], "other": [0, 200]}


def test_the_view_holds_all_tags_in_the_order_in_which_they_were_made(make_job: MakeJob) -> None:
    run_job(make_job(name="z", steps="first,200"))
    run_job(make_job(name="a"))
    run_job(make_job(name="z"))
    shown: list[tuple[str, int]] = []

    def look(result: FinishedSlice, view: View) -> None:
        shown[:] = [(entry.tag, entry.step) for entry in view()]

    run_job(make_job(name="z"), look)
    assert shown == [("z", 0), ("z", 200), ("a", 0), ("a", 200), ("a", 2000), ("z", 2000)]


def test_a_view_can_be_read_after_the_run(make_job: MakeJob) -> None:
    kept: list[Callable[[], Iterator[FinishedSlice]]] = []
    run_job(make_job(), lambda result, view: kept.append(view))
    assert [entry.step for entry in kept[0]()] == [0, 200, 2000]
    # And lets go of the store.
    assert run_job(make_job()).num_new == 0


def test_an_estimate_writes_nothing_and_counts_what_the_run_does(make_job: MakeJob, workplace: Path) -> None:
    job = make_job(method="random2d", grid="5x3", split="both", batch_size=500)
    before = sorted(path for path in workplace.rglob("*") if "__pycache__" not in path.parts)
    cost = estimate(job)
    assert sorted(path for path in workplace.rglob("*") if "__pycache__" not in path.parts) == before
    result = run_job(job)
    assert cost.points == sum(finished.data.loss.size for finished in result.slices)
    assert cost.bytes_written == sum(
        array.values.nbytes for finished in result.slices for array in finished.data.arrays
    )
    with contextlib.closing(sqlite3.connect("runs/sgd/loss_slicer/slices.sqlite")) as store:
        ((num_tiles, kept),) = store.execute("SELECT COUNT(*), SUM(LENGTH(sums)) FROM tiles").fetchall()
    # A tile has some lines of its own besides its points.
    assert cost.bytes_stored < kept < cost.bytes_stored + 1500 * num_tiles
    batches = result.slices[0].data.evaluation["batches"]
    assert cost.forward_passes == cost.points * sum(batches.values())
    assert cost.run_dirs == ("runs/sgd/loss_slicer",)


def test_a_merge_counts_what_is_lacking_on_all_splits(make_job: MakeJob) -> None:
    with pytest.raises(StoreError, match=r"lacks 30 points of 30 \(train, test\)"):
        run_job(make_job(method="random2d", grid="5x3", split="both"), merging=True)


def test_resuming_from_stored_points_keeps_the_loss_first_of_all_arrays(make_job: MakeJob) -> None:
    """The metric's name comes before the loss's in the alphabet, and so in the store."""
    first = run_job(make_job(split="both"))
    run_job(make_job(split="both", seed=1))
    again = run_job(make_job(split="both"))
    assert again.num_new == 3
    for before, after in zip(first.slices, again.slices, strict=True):
        names = [(array.name, array.split, array.role) for array in after.data.arrays]
        assert names == [(array.name, array.split, array.role) for array in before.data.arrays]
        assert names[0] == ("loss", "train", "value")
        for mine, other in zip(after.data.arrays, before.data.arrays, strict=True):
            assert mine.values.tobytes() == other.values.tobytes()


def test_a_part_of_the_samples_says_of_how_many_and_has_the_centers_loss_on_all(make_job: MakeJob) -> None:
    job = make_job(samples=100, split="both", batch_size=200, seed=4)
    cost = estimate(job)
    assert cost.samples == {"train": 100, "test": 100}
    # At each of three checkpoints three points and, in eight and two batches, the center on all.
    assert cost.forward_passes == 3 * (3 * (1 + 1) + 8 + 2)
    part, whole = run_job(job), run_job(make_job(split="both", name="whole"))
    run_job(make_job())
    again = run_job(job)
    assert again.num_new == 3
    for finished, resumed, other in zip(part.slices, again.slices, whole.slices, strict=True):
        data = finished.data
        assert data.center is not None
        assert other.data.center is not None
        assert data.center.whole_loss == pytest.approx(other.data.center.loss, rel=1e-6)
        assert resumed.data.center == data.center
        assert data.evaluation["samples"] == {"train": 100, "test": 100}
        assert data.evaluation["samples_of"] == {"train": 1438, "test": 359}
        assert data.array(role="count").tolist() == [100] * 3
        assert (data.config["samples"], other.data.config["samples"]) == (100, None)


def test_weight_decay_is_in_the_loss_of_points_center_and_ends(make_job: MakeJob) -> None:
    plain = run_job(make_job(method="linear", grid="5"))
    found = run_job(make_job(method="linear", grid="5", weight_decay=0.1, name="decayed"))
    for finished, other in zip(found.slices, plain.slices, strict=True):
        data = finished.data
        assert data.center is not None
        assert other.data.center is not None
        assert data.center.data_loss == other.data.center.loss
        assert data.center.norm is not None
        penalty = 0.05 * data.center.norm**2
        assert data.center.loss["train"] == pytest.approx(other.data.center.loss["train"] + penalty, rel=1e-9)
        assert data.markers[0].loss == data.center.loss
        assert data.config["weight_decay"] == 0.1


@pytest.mark.parametrize("options", [{"method": "random2d"}, {"method": "linear", "grid": "5"}])
def test_a_run_that_streams_gives_the_loops_numbers(make_job: MakeJob, options: dict[str, str]) -> None:
    """Checkpoints are read and directions are made block by block then."""
    diary = Diary()
    streamed = run_job(make_job(memory_budget="50kB", batch_size=500, **options), reporter=diary)
    assert ("note", "strategy: streaming, since three copies of the parameters do not fit the memory") in diary.entries
    loops = run_job(make_job(strategy="loop", batch_size=500, logdir="loop", **options))
    for ours, theirs in zip(streamed.slices, loops.slices, strict=True):
        assert ours.data.evaluation["strategy"] == "streaming"
        assert np.array_equal(ours.data.loss, theirs.data.loss)
        assert ours.data.directions == theirs.data.directions
        assert ours.data.center == theirs.data.center
        assert ours.data.markers == theirs.data.markers
    assert estimate(make_job(strategy="streaming", batch_size=500, **options)).points > 0


def test_a_tolerance_spares_points_and_what_it_did_is_kept(make_job: MakeJob) -> None:
    # Where nothing is spared the bound is 0; what auto chooses by timing may differ in last digits.
    options = {"grid": "31", "split": "both", "steps": "first,last", "strategy": "loop"}
    job = make_job(tolerance="2%", **options)
    result = run_job(job)
    full = run_job(make_job(name="full", **options))
    for found, whole in zip(result.slices, full.slices, strict=True):
        assert found.data.config["tolerance"] == "2%"
        for split in ("train", "test"):
            report = found.data.evaluation["tolerance"][split]
            off = np.abs(found.data.array(split=split) - whole.data.array(split=split))
            assert off.max() <= report["error_bound"] + 1e-9
            marked = found.data.array(split=split, role="interpolated")
            assert report["points_interpolated"] == marked.sum()
            assert report["sample_evaluations"] == found.data.array(split=split, role="count").sum()
    # The untrained network's losses are smooth.
    assert result.slices[0].data.array(role="interpolated").any()
    again = run_job(job)
    assert again.num_new == 0


def test_going_on_from_stored_points_gives_the_slice_of_a_run_without_a_stop(make_job: MakeJob) -> None:
    job = make_job(grid="31", tolerance="2%", steps="last")
    (first,) = run_job(job).slices
    with Store(RUN_DIR / FILE_NAME) as store:
        store.drop_tag(job.tag)
    (second,) = run_job(job).slices
    assert not second.stored
    assert second.data.evaluation == first.data.evaluation
    for one, other in zip(first.data.arrays, second.data.arrays, strict=True):
        assert np.array_equal(one.values, other.values), one
