from __future__ import annotations

import gc
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch.utils.tensorboard import SummaryWriter

from slicer_core.errors import SlicerError, UsageError
from tensorboard_loss_slicer import LossSlicerWarning, log_slice, read_events, set_writer

LINE = {"samples": [(0.0, 2.5), (1.0, 3.0)], "start_loss": 2.5, "end_loss": 3.0}


@pytest.fixture(autouse=True)
def no_writer_of_another_test():
    if writers():
        gc.collect()
    assert not writers()
    yield
    set_writer(None)


def writers() -> list[SummaryWriter]:
    """All that there are. A look at every object of the process of the tests would take seconds."""
    return [thing for thing in gc.get_referrers(SummaryWriter) if type(thing) is SummaryWriter]


def tags(run: Path) -> list[str]:
    return [event.tag for event in read_events(run)]


def event_file_names(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir())


@pytest.fixture
def silent():
    """A warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.usefixtures("silent")
def test_the_one_live_writer_is_found(tmp_path):
    writer = SummaryWriter(tmp_path)
    log_slice("line", LINE)
    assert tags(tmp_path) == ["line"]
    assert len(event_file_names(tmp_path)) == 1
    writer.close()


@pytest.mark.usefixtures("silent")
def test_a_closed_writer_is_reopened_in_a_new_file(tmp_path):
    writer = SummaryWriter(tmp_path)
    log_slice("before", LINE)
    writer.close()
    log_slice("after", LINE)
    assert tags(tmp_path) == ["before", "after"]
    assert len(event_file_names(tmp_path)) == 2
    writer.close()


def test_of_several_writers_the_newest_is_taken_with_a_warning_that_names_it(tmp_path):
    writers = [SummaryWriter(tmp_path / name) for name in ("c", "a", "b")]
    with pytest.warns(LossSlicerWarning, match=r"3 SummaryWriters.*made last.*b\. Choose") as caught:
        log_slice("line", LINE)
    assert caught[0].filename == __file__
    assert issubclass(caught[0].category, UserWarning)
    assert tags(tmp_path / "b") == ["line"]
    assert tags(tmp_path / "a") == tags(tmp_path / "c") == []
    for writer in writers:
        writer.close()


def test_ten_and_more_writers_are_ordered_as_numbers(tmp_path):
    writers = [SummaryWriter(tmp_path / str(number)) for number in range(12)]
    with pytest.warns(LossSlicerWarning):
        log_slice("line", LINE)
    assert tags(tmp_path / "11") == ["line"]
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("suffix", ["", ".host.1.99", ".v2"])
def test_the_newest_is_found_though_all_are_closed(tmp_path, suffix):
    writers = [SummaryWriter(tmp_path / name, filename_suffix=suffix) for name in ("b", "a")]
    for writer in writers:
        writer.close()
    with pytest.warns(LossSlicerWarning, match=f"{tmp_path / 'a'}"):
        log_slice("line", LINE)
    assert tags(tmp_path / "a") == ["line"]
    for writer in writers:
        writer.close()


def test_reopening_an_older_writer_does_not_make_it_the_newest(tmp_path):
    older, newer = SummaryWriter(tmp_path / "older"), SummaryWriter(tmp_path / "newer")
    older.close()
    with pytest.warns(LossSlicerWarning):
        log_slice("first", LINE)
    log_slice("named", LINE, writer=older)
    with pytest.warns(LossSlicerWarning):
        log_slice("second", LINE)
    assert tags(tmp_path / "newer") == ["first", "second"]
    assert tags(tmp_path / "older") == ["named"]
    older.close()
    newer.close()


@pytest.mark.usefixtures("silent")
def test_a_variable_that_is_bound_again_in_a_loop_gives_its_new_writer(tmp_path):
    for name in ("sgd", "adam", "adamw"):
        writer = SummaryWriter(tmp_path / f"optimizer_{name}")
        log_slice(f"{name}_landscape", LINE, step=1)
    for name in ("sgd", "adam", "adamw"):
        assert tags(tmp_path / f"optimizer_{name}") == [f"{name}_landscape"]
    writer.close()


@pytest.mark.usefixtures("silent")
def test_a_writer_that_only_a_cycle_keeps_does_not_count(tmp_path):
    gc.disable()
    try:
        forgotten = [SummaryWriter(tmp_path / "forgotten")]
        forgotten.append(forgotten)
        del forgotten
        writer = SummaryWriter(tmp_path / "mine")
        log_slice("line", LINE)
    finally:
        gc.enable()
    assert tags(tmp_path / "mine") == ["line"]
    writer.close()


def test_a_writer_whose_constructor_failed_does_not_count(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        SummaryWriter(tmp_path / "file")
    failed = SummaryWriter.__new__(SummaryWriter)
    with pytest.raises(UsageError, match="no writer"):
        log_slice("line", LINE)
    del failed


@pytest.mark.usefixtures("silent")
def test_a_subclass_of_the_writer_is_found(tmp_path):
    class Mine(SummaryWriter):
        pass

    writer = Mine(tmp_path)
    log_slice("line", LINE)
    assert tags(tmp_path) == ["line"]
    writer.close()


@pytest.mark.usefixtures("silent")
def test_finding_a_writer_does_not_wake_proxies(tmp_path):
    class Proxy:
        @property
        def __class__(self):
            raise AssertionError("asked for its class")

    proxy = Proxy()
    writer = SummaryWriter(tmp_path)
    log_slice("line", LINE)
    writer.close()
    del proxy


def test_without_a_writer_the_error_shows_the_ways_out():
    with pytest.raises(SlicerError) as caught:
        log_slice("line", LINE)
    for way in ("SummaryWriter", "writer=", "logdir=", "set_writer"):
        assert way in str(caught.value)


def test_without_torch_the_error_is_the_same():
    script = (
        "import sys\n"
        "from slicer_core.errors import SlicerError\n"
        "from tensorboard_loss_slicer.summary_v2 import log_slice\n"
        "try:\n    log_slice('line', {'samples': [(0, 1)]})\n"
        "except SlicerError as error:\n    print(error)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "logdir=" in done.stdout


@pytest.mark.usefixtures("silent")
def test_the_writer_that_is_set_is_taken_until_it_is_unset(tmp_path):
    chosen, newer = SummaryWriter(tmp_path / "chosen"), SummaryWriter(tmp_path / "newer")
    set_writer(chosen)
    log_slice("a", LINE)
    chosen.close()
    log_slice("b", LINE)
    assert tags(tmp_path / "chosen") == ["a", "b"]
    set_writer(None)
    chosen.close()
    del chosen
    log_slice("c", LINE)
    assert tags(tmp_path / "newer") == ["c"]
    newer.close()


@pytest.mark.usefixtures("silent")
def test_a_writer_that_is_passed_wins_over_all(tmp_path):
    set_writer(SummaryWriter(tmp_path / "set"))
    mine = EventFileWriter(str(tmp_path / "mine"))
    log_slice("line", LINE, writer=mine)
    mine.close()
    assert tags(tmp_path / "mine") == ["line"]
    assert tags(tmp_path / "set") == []


def test_a_directory_has_one_file_of_the_process_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log_slice("line", LINE, logdir="runs/one")
    log_slice("line", LINE, logdir=tmp_path / "runs" / "one")
    log_slice("line", LINE, logdir=f"{tmp_path}/runs/../runs/one/")
    assert len(event_file_names(tmp_path / "runs" / "one")) == 1
    assert [event.step for event in read_events(tmp_path / "runs" / "one")] == [0, 1, 2]


def test_a_fork_writes_a_file_of_its_own(tmp_path):
    script = (
        "import os, sys\n"
        "from tensorboard_loss_slicer import log_slice\n"
        "line = {'samples': [(0, 1)]}\n"
        "log_slice('parent', line, logdir=sys.argv[1])\n"
        "child = os.fork()\n"
        "log_slice('child' if child == 0 else 'again', line, logdir=sys.argv[1])\n"
        "if child: assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    assert len(event_file_names(tmp_path)) == 2
    assert sorted(tags(tmp_path)) == ["again", "child", "parent"]


def test_a_writer_and_a_directory_together_are_refused(tmp_path):
    writer = SummaryWriter(tmp_path / "a")
    with pytest.raises(UsageError, match="both writer and logdir"):
        log_slice("line", LINE, writer=writer, logdir=tmp_path / "b")
    assert tags(tmp_path / "a") == []
    assert not (tmp_path / "b").exists()
    writer.close()


@pytest.mark.parametrize("thing", ["runs/one", 3, object()])
def test_what_is_no_writer_is_refused(thing):
    with pytest.raises(UsageError, match=f"found {type(thing).__name__}; for a directory use logdir="):
        log_slice("line", LINE, writer=thing)
    with pytest.raises(UsageError, match="found"):
        set_writer(thing)


def test_a_closed_event_file_writer_is_an_error_that_names_its_directory(tmp_path):
    writer = EventFileWriter(str(tmp_path))
    writer.close()
    with pytest.raises(SlicerError, match=f"could not be written to {tmp_path}"):
        log_slice("line", LINE, writer=writer)


def test_a_directory_that_can_not_be_made_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    for given in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SlicerError, match=f"can't be made in logdir {given}: "):
            log_slice("line", LINE, logdir=given)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_directory_on_a_full_disk_is_written_again_once_there_is_room(tmp_path):
    log_slice("line", LINE, logdir=tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, hard))
    try:
        with pytest.raises(SlicerError, match=f"could not be written to {tmp_path}"):
            log_slice("line", LINE, logdir=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log_slice("line", LINE, logdir=tmp_path)
    assert [event.step for event in read_events(tmp_path)] == [0, 1]


def test_scalars_of_the_training_loop_stay_beside_the_slices(tmp_path):
    writer = SummaryWriter(tmp_path)
    for step in range(3):
        writer.add_scalar("loss", 1.0 / (step + 1), step)
        log_slice("line", LINE, step=step)
    writer.close()
    assert [event.step for event in read_events(tmp_path)] == [0, 1, 2]
    assert len(event_file_names(tmp_path)) == 1
