"""What is damaged, left behind or in the way of a log of slices, and what is made of it."""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from event_logs import a_slice, event, files, values
from slicer_core.errors import FormatError, StoreError
from tensorboard_loss_slicer import event_draft
from tensorboard_loss_slicer.event_files import EventFileLog, SliceEvent, read_events


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5)


def cut_to_a_few_bytes(path: Path) -> None:
    os.truncate(path, 3)


def flip_in_a_slice(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


def flip_in_a_length(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


def overwrite(path: Path) -> None:
    path.write_bytes(b"not an event file" * 20)


def add_garbage(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 64)


@pytest.mark.parametrize("damage", [cut, cut_to_a_few_bytes, flip_in_a_slice, flip_in_a_length, overwrite, add_garbage])
def test_a_damaged_file_is_replaced(tmp_path, damage):
    events = [event(1), event(2)]
    log = EventFileLog(tmp_path)
    log.publish(events)
    (path,) = files(tmp_path)
    damage(path)
    with pytest.raises(StoreError, match="publish all slices again"):
        EventFileLog(tmp_path).append(event(3))
    assert log.publish(events) is True
    assert values(read_events(tmp_path)) == values(events)
    log.append(event(3))
    assert [one.step for one in read_events(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize("damage", [flip_in_a_slice, flip_in_a_length, overwrite, add_garbage])
def test_reading_a_damaged_file_says_so(tmp_path, damage):
    EventFileLog(tmp_path).publish([event(1), event(2)])
    (path,) = files(tmp_path)
    damage(path)
    read: list[SliceEvent] = []
    with pytest.raises(FormatError, match="damaged at byte"):
        read.extend(one for one in read_events(path))
    assert len(read) < 3


def test_reading_a_file_that_is_being_written_gives_what_is_whole(tmp_path):
    EventFileLog(tmp_path).publish([event(1), event(2)])
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    lengths = set()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        lengths.add(len(list(read_events(path))))
    assert lengths == {0, 1}


def test_two_files_of_a_process_that_was_killed_become_one(tmp_path):
    log = EventFileLog(tmp_path)
    log.publish([event(1)])
    (path,) = files(tmp_path)
    shutil.copy(path, path.with_name("events.out.tfevents.0000000001.host.1.0"))
    (tmp_path / ".loss_slicer-draft-1-0").write_bytes(b"half of a file")
    with pytest.raises(StoreError, match="one whole event file"):
        log.append(event(2))
    assert log.publish([event(1)]) is True
    assert len(files(tmp_path)) == 1
    assert values(read_events(tmp_path)) == [("landscape", 1, 1.0)]


def test_files_that_were_emptied_long_ago_are_removed(tmp_path):
    log = EventFileLog(tmp_path)
    for value in (1, 2):
        log.publish([event(1, value)])
    emptied, newest = files(tmp_path, empty=True)
    assert (emptied.stat().st_size, newest.stat().st_size > 0) == (0, True)
    long_ago = newest.stat().st_mtime - 1000
    os.utime(emptied, (long_ago, long_ago))
    log.publish([event(1, 3)])
    assert not emptied.exists()
    assert newest.stat().st_size == 0
    assert values(read_events(tmp_path)) == [("landscape", 1, 3.0)]


def test_the_next_file_has_a_later_name_even_when_the_clock_went_back(tmp_path, monkeypatch):
    log = EventFileLog(tmp_path)
    log.publish([event(1)])
    (before,) = files(tmp_path)
    monkeypatch.setattr(event_draft.time, "time", lambda: 1e9)
    log.publish([event(2)])
    (after,) = files(tmp_path)
    assert after.name > before.name


def test_a_directory_with_the_event_file_of_a_training_is_refused_and_stays(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("loss", 1.0, 0)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StoreError, match="written by something else"):
        EventFileLog(tmp_path).publish([event(1)])
    with pytest.raises(StoreError, match="written by something else"):
        EventFileLog(tmp_path).append(event(1))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_directory_that_can_not_be_made_is_an_error_that_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"can't be written.*disk has room"):
        EventFileLog(tmp_path / "file" / "run").publish([event(1)])


def test_a_full_disk_while_appending_leaves_the_file_whole(tmp_path):
    with EventFileLog(tmp_path) as log:
        log.append(event(1))
        log.append(event(2))
        (path,) = files(tmp_path)
        before = path.read_bytes()
        # The kernel refuses a file above the limit as it refuses one on a full disk.
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
        try:
            with pytest.raises(StoreError, match="can't be written"):
                log.append(event(3, data=dataclasses.replace(a_slice(0.0), config={"long": "x" * 5000})))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)
        assert path.read_bytes() == before
        log.append(event(3))
    assert [one.step for one in read_events(tmp_path)] == [1, 2, 3]


def test_a_process_killed_while_it_publishes_leaves_a_whole_log(tmp_path):
    run = tmp_path / "run"
    script = (
        "import sys, itertools, numpy as np\n"
        "from tensorboard_loss_slicer.event_files import EventFileLog, SliceEvent\n"
        "from slicer_core.slices import slice_from_plain\n"
        "def events(value):\n"
        "    for step in range(3):\n"
        "        data = slice_from_plain({'samples': [(0, value), (1, step)]}, 'random_direction_1d')\n"
        "        yield SliceEvent(tag='landscape', step=step, wall_time=0.0, data=data)\n"
        "log = EventFileLog(sys.argv[1])\n"
        "for value in itertools.count():\n"
        "    log.publish(events(value)); print(value, flush=True)\n"
    )
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", script, str(run)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(4):
                process.stdout.readline()
            process.kill()
        newest = files(run)[-1]
        seen = values(read_events(newest))
        assert [step for _, step, _ in seen] == [0, 1, 2]
        assert len({value for _, _, value in seen}) == 1
    EventFileLog(run).publish([event(1)])
    assert values(read_events(run)) == [("landscape", 1, 1.0)]
    assert not [path for path in files(run) if "tfevents" not in path.name]
