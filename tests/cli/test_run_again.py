"""`loss-slicer run` on a log that is there already: nothing computed is lost, computed again, or shown twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import Result

from slicer_core.job import Job, run_job
from slicer_core.store import Store
from tensorboard_loss_slicer.event_files import EventFileLog
from tensorboard_loss_slicer.job_log import JobLog

Run = Callable[..., Result]
RUN_DIR = Path("runs/sgd/loss_slicer")
STORE = RUN_DIR / "slices.sqlite"
SMALL = ("--method", "random1d", "--grid", "3")


def content(path: Path) -> list[tuple[object, ...]]:
    """Every row of a store, without the times at which rows were made."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    tiles = connection.execute("SELECT job, checkpoint, tile, split, metric, sums FROM tiles").fetchall()
    slices = connection.execute("SELECT tag, step, job, checkpoint, wall_time, blobs FROM slices").fetchall()
    connection.close()
    return sorted(tiles, key=str) + sorted(slices, key=str)


def jobs(path: Path = STORE) -> set[str]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    found = {job for (job,) in connection.execute("SELECT DISTINCT job FROM slices")}
    connection.close()
    return found


def digests(files: list[Path]) -> dict[Path, str]:
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def num_new(done: Result) -> int:
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["new"]


def test_the_same_command_again_computes_nothing_and_says_so(run: Run, tools: SimpleNamespace) -> None:
    assert run(*SMALL).exit_code == 0
    before, files = content(STORE), digests(tools.event_files(Path("runs")))
    again = run(*SMALL)
    assert again.exit_code == 0
    assert "nothing was computed" in again.stdout
    assert again.stderr.count("(stored)") == 3
    assert content(STORE) == before
    assert digests(tools.event_files(Path("runs"))) == files
    assert num_new(run(*SMALL, "--json")) == 0


def test_a_lost_damaged_or_cut_event_file_is_made_again(run: Run, tools: SimpleNamespace) -> None:
    assert run(*SMALL).exit_code == 0
    whole = tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]

    def harm_and_repair(harm: Callable[[Path], object]) -> None:
        (file,) = tools.event_files(Path("runs"))
        harm(file)
        assert num_new(run(*SMALL, "--json")) == 0
        repaired = tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]
        assert list(repaired) == [0, 200, 2000]
        for step, data in repaired.items():
            assert data.loss.tobytes() == whole[step].loss.tobytes()
        assert len(tools.event_files(Path("runs"))) == 1

    harm_and_repair(lambda file: file.unlink())
    harm_and_repair(lambda file: os.truncate(file, file.stat().st_size // 2))
    harm_and_repair(lambda file: file.write_bytes(file.read_bytes().replace(b"random1d", b"random0d", 1)))


def test_methods_share_one_event_file_in_whatever_order_they_come(run: Run, tools: SimpleNamespace) -> None:
    """`axis` comes before `random1d` in the alphabet, and after it in the log."""
    axis = ("--method", "axis", "--params-to-slice", "0:2", "--grid", "3")
    assert run(*SMALL, "--steps", "first,last").exit_code == 0
    assert run(*axis).exit_code == 0
    files = digests(tools.event_files(Path("runs")))
    assert len(files) == 1
    log = tools.read_log(Path("runs"))
    assert {run_name: set(tags) for run_name, tags in log.items()} == {"sgd/loss_slicer": {"random1d", "axis"}}
    for command in (axis, (*SMALL, "--steps", "first,last")):
        assert num_new(run(*command, "--json")) == 0
    assert digests(tools.event_files(Path("runs"))) == files
    # A step in the middle comes late: the steps of the tag ascend all the same.
    assert num_new(run(*SMALL, "--json")) == 1
    log = tools.read_log(Path("runs"))
    assert list(log["sgd/loss_slicer"]["random1d"]) == [0, 200, 2000]
    assert list(log["sgd/loss_slicer"]["axis"]) == [0, 200, 2000]
    assert len(tools.event_files(Path("runs"))) == 1


def test_steps_ascend_in_the_log_when_the_last_was_taken_first(run: Run, tools: SimpleNamespace) -> None:
    tools.copy_checkpoints("sgd", Path("sgd"), (10, 20, 40, 80))
    assert num_new(run(*SMALL, "--steps", "last", "--json")) == 1
    assert num_new(run(*SMALL, "--json")) == 6
    assert list(tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]) == [0, 10, 20, 40, 80, 200, 2000]
    assert len(tools.event_files(Path("runs"))) == 1


def test_another_seed_replaces_the_slices_of_the_tag_and_says_so(run: Run, tools: SimpleNamespace) -> None:
    assert run(*SMALL).exit_code == 0
    first = tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]
    other = run(*SMALL, "--seed", "1")
    assert other.exit_code == 0
    assert "tag random1d held slices of a run with other options" in other.stderr
    second = tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]
    assert list(second) == [0, 200, 2000]
    assert all(not np.array_equal(first[step].loss, second[step].loss) for step in second)
    assert len(jobs()) == 1
    # What was computed is not lost: the first command has its points back without evaluating them.
    assert run(*SMALL).exit_code == 0
    third = tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]
    assert all(first[step].loss.tobytes() == third[step].loss.tobytes() for step in third)


def test_status_says_where_other_slices_are_in_place_of_a_runs_own(run: Run, call: Run) -> None:
    run(*SMALL)
    run(*SMALL, "--seed", "1", "--steps", "last")
    assert call("status", "runs").stdout.splitlines()[2:] == [
        "  random1d: slices of another run are in place of its own (steps 0, 200, 2000)",
        "  random1d: 1 slice (step 2000)",
    ]
    (store,) = json.loads(call("status", "runs", "--json").stdout)["stores"]
    assert [(job["steps_done"], job["partly"], job["replaced"]) for job in store["jobs"]] == [
        ([], {}, [0, 200, 2000]),
        ([2000], {}, []),
    ]


def test_status_has_each_name_that_a_job_was_run_with(run: Run, call: Run) -> None:
    run(*SMALL, "--name", "first")
    run(*SMALL, "--name", "second", "--steps", "0,200")
    assert call("status", "runs").stdout.splitlines()[2:] == [
        "  first: 3 slices (steps 0, 200, 2000)",
        "  second: 2 slices (steps 0, 200)",
    ]


def test_status_has_a_jobs_points_under_its_last_name(run: Run, call: Run) -> None:
    run(*SMALL, "--name", "first", "--steps", "last")
    with contextlib.closing(sqlite3.connect(STORE)) as connection, connection:
        connection.execute("DELETE FROM slices")
    run(*SMALL, "--name", "second", "--steps", "0")
    assert call("status", "runs").stdout.splitlines()[2:] == [
        "  second: 1 slice (step 0)",
        "    step 2000: 100% of the points",
    ]


def test_a_run_that_can_not_be_says_nothing_of_slices_that_leave(run: Run) -> None:
    assert run(*SMALL).exit_code == 0
    before = content(STORE)
    refused = run(*SMALL, "--params", "nothing*")
    assert refused.exit_code == 2
    assert "matches no parameter" in refused.stderr
    assert "leave the log" not in refused.stderr
    assert content(STORE) == before


def test_under_a_name_of_its_own_another_seed_replaces_nothing(run: Run, tools: SimpleNamespace) -> None:
    assert run(*SMALL).exit_code == 0
    assert "tag" not in run(*SMALL, "--seed", "1", "--name", "other seed").stderr
    assert {tag: list(steps) for tag, steps in tools.read_log(Path("runs"))["sgd/loss_slicer"].items()} == {
        "random1d": [0, 200, 2000],
        "other seed": [0, 200, 2000],
    }


def test_fresh_computes_again_and_keeps_the_old_store_aside(run: Run, tools: SimpleNamespace) -> None:
    assert run(*SMALL).exit_code == 0
    assert run("--method", "axis", "--params-to-slice", "0:2", "--grid", "3").exit_code == 0
    before = content(STORE)
    again = run(*SMALL, "--fresh", "--json")
    assert num_new(again) == 3
    (aside,) = set(RUN_DIR.glob("*.sqlite")) - {STORE}
    assert content(aside) == before
    # Starting over with one method leaves the others' slices in the log.
    assert {tag: list(steps) for tag, steps in tools.read_log(Path("runs"))["sgd/loss_slicer"].items()} == {
        "random1d": [0, 200, 2000],
        "axis": [0, 200, 2000],
    }


def test_each_checkpoint_folder_has_a_run_of_its_own(run: Run, call: Run, tools: SimpleNamespace) -> None:
    for name in ("adam", "old/adam"):
        tools.copy_checkpoints("adam", Path(name), (0, 2000))
    flat = tools.copy_checkpoints("adamw", Path("elsewhere"), (2000,)).rename("weights")
    folders = ["sgd/checkpoints", "adam/checkpoints", "old/adam/checkpoints", str(flat)]
    options = [part for folder in folders for part in ("--checkpoints", folder)]
    done = call("run", "--module", tools.MODULE, *SMALL, *options)
    assert done.exit_code == 0
    runs = {str(file.parent.relative_to("runs")) for file in tools.event_files(Path("runs"))}
    # A folder that is not called `checkpoints` goes by its own name; two that are alike by more of their paths.
    assert runs == {
        "sgd/loss_slicer",
        f"{Path.cwd().name}/adam/loss_slicer",
        "old/adam/loss_slicer",
        "weights/loss_slicer",
    }
    assert num_new(call("run", "--module", tools.MODULE, *SMALL, *options, "--json")) == 0


def test_sources_that_differ_by_name_are_called_by_it(run: Run, tools: SimpleNamespace) -> None:
    tools.copy_checkpoints("adam", Path("adam"), (2000,))
    assert run(*SMALL, "--checkpoints", "adam/checkpoints").exit_code == 0
    assert set(tools.read_log(Path("runs"))) == {"sgd/loss_slicer", "adam/loss_slicer"}


def test_a_trained_anew_checkpoint_is_sliced_again(run: Run, tools: SimpleNamespace) -> None:
    assert run(*SMALL).exit_code == 0
    first = tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]
    adam = tools.copy_checkpoints("adam", Path("adam"), (2000,)) / "step-002000.safetensors"
    adam.replace("sgd/checkpoints/step-002000.safetensors")
    assert run(*SMALL).exit_code == 0
    second = tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]
    assert second[2000].center.loss != first[2000].center.loss
    assert second[0].loss.tobytes() == first[0].loss.tobytes()


def test_slices_of_checkpoints_that_are_gone_stay_whatever_folder_the_command_is_given_in(
    call: Run, workplace: Path, tools: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer that keeps its last checkpoints only, and a run after each of two savings."""
    elsewhere = tools.copy_checkpoints("adam", Path("other/sgd"), (500,))
    options = (*SMALL, "--module", tools.MODULE, "--logdir", str(workplace / "runs"))
    assert call("run", *options, "--checkpoints", "sgd/checkpoints").exit_code == 0
    for file in Path("sgd/checkpoints").iterdir():
        file.unlink()
    tools.copy_checkpoints("sgd", Path("sgd"), (80,))
    (workplace / "nowhere").mkdir()
    monkeypatch.chdir(workplace / "nowhere")
    later = call("run", *options, "--checkpoints", str(workplace / "sgd/checkpoints"))
    assert later.exit_code == 0, later.stderr
    assert "another training" not in later.stderr
    monkeypatch.chdir(workplace)
    assert list(tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]) == [0, 80, 200, 2000]
    # Under the same relative path, but another folder.
    monkeypatch.chdir(workplace / "other")
    other = call("run", *options, "--checkpoints", str(elsewhere.relative_to("other")))
    assert "tag random1d held slices of another training" in other.stderr
    monkeypatch.chdir(workplace)
    assert list(tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]) == [500]


def test_other_tags_of_another_training_of_the_same_name_are_told(run: Run, call: Run, tools: SimpleNamespace) -> None:
    assert run(*SMALL).exit_code == 0
    assert run(*SMALL, "--name", "again").stderr.count("other") == 0
    tools.copy_checkpoints("adam", Path("other/sgd"), (2000,))
    other = call("run", *SMALL, "--module", tools.MODULE, "--checkpoints", "other/sgd/checkpoints", "--name", "other")
    assert other.exit_code == 0
    folder = Path("sgd/checkpoints").resolve()
    assert f"also has slices of the checkpoints in {folder} (tag again, random1d): another --logdir" in other.stderr


def test_a_store_in_use_is_told_before_anything_is_computed(run: Run) -> None:
    assert run(*SMALL).exit_code == 0
    with Store(STORE):
        other = run(*SMALL, "--seed", "1")
    assert other.exit_code == 2
    assert "in use" in other.stderr
    assert "Traceback" not in other.stderr
    assert run(*SMALL).exit_code == 0


def test_one_source_whose_store_is_damaged_does_not_stop_the_others(run: Run, tools: SimpleNamespace) -> None:
    tools.copy_checkpoints("adam", Path("adam"), (0, 2000))
    both = (*SMALL, "--checkpoints", "adam/checkpoints")
    assert run(*both).exit_code == 0
    STORE.write_bytes(b"not a store at all " * 100)
    done = run(*both, "--json")
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert [entry["source"] for entry in document["slices"]] == ["adam", "adam"]
    assert "slices.sqlite" in document["failures"][0]["error"]
    assert done.stderr.count("failed:") == 1


def test_late_steps_do_not_make_the_log_again_one_by_one(
    workplace: Path, tools: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.copy_checkpoints("sgd", Path("sgd"), (10, 20, 40, 80, 120, 320, 500, 800, 1200))
    published = []
    publish = EventFileLog.publish

    def counted(self: EventFileLog, events: object) -> bool:
        published.append(1)
        return publish(self, events)

    monkeypatch.setattr(EventFileLog, "publish", counted)
    # However fast the machine, no time is left for another one before the end.
    monkeypatch.setattr("tensorboard_loss_slicer.job_log._PUBLISHING_SHARE", 1e-9)
    values = {"checkpoints": "sgd/checkpoints", "module": str(tools.MODULE), "method": "random1d", "grid": "3"}
    with JobLog() as log:
        run_job(Job.from_values(values | {"steps": "last"}), log)
    published.clear()
    with JobLog() as log:
        result = run_job(Job.from_values(values), log)
    assert result.num_new == 11
    assert len(published) == 2
    assert len(tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]) == 12
