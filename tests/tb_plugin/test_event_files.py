"""Logs of slices are published whole, appended to, and shown by TensorBoard."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from torch.utils.tensorboard import SummaryWriter

from event_logs import FastLoader, PythonLoader, a_slice, event, files, values
from slicer_core.errors import FormatError, UsageError
from tensorboard_loss_slicer.event_files import EventFileLog, SliceEvent, read_events
from tensorboard_loss_slicer.metadata import PLUGIN_NAME
from tensorboard_loss_slicer.tags import TagTypeError


@pytest.fixture(params=[PythonLoader, FastLoader])
def loader(request):
    """Starts a TensorBoard's loader on a log directory."""
    with contextlib.ExitStack() as stack:
        yield lambda logdir: stack.enter_context(contextlib.closing(request.param(logdir)))


def test_a_published_log_holds_exactly_the_events(tmp_path):
    events = [
        event(0, tag="a", description="first"),
        event(5, tag="b"),
        event(3, tag="a", data=a_slice(float("nan"))),
        event(4, tag="a", description="later"),
    ]
    assert EventFileLog(tmp_path).publish(events) is True
    again = list(read_events(tmp_path))
    assert [(one.tag, one.step, one.wall_time, one.description) for one in again] == [
        (one.tag, one.step, one.wall_time, one.description) for one in events
    ]
    for one, other in zip(again, events, strict=True):
        assert one.data.loss.tobytes() == other.data.loss.tobytes()


def test_the_file_begins_with_its_version_and_is_named_as_tensorboard_names_them(tmp_path):
    EventFileLog(tmp_path).publish([event(1)])
    (path,) = files(tmp_path)
    assert path.name.startswith("events.out.tfevents.")
    assert int(path.name.split(".")[3]) >= 1_700_000_000
    assert path.name.split(".")[-2] == str(os.getpid())
    first = next(LegacyEventFileLoader(str(path)).Load())
    assert first.file_version == "brain.Event:2"


def test_both_loaders_of_tensorboard_show_the_log(tmp_path, loader):
    EventFileLog(tmp_path / "run").publish([event(step) for step in (0, 2, 7)])
    assert loader(tmp_path).shows({0: 0.0, 2: 2.0, 7: 7.0})


def test_tensorboards_older_reader_shows_the_log_too(tmp_path):
    EventFileLog(tmp_path).publish([event(step) for step in (0, 2, 7)])
    accumulator = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    accumulator.Reload()
    assert [tensor.step for tensor in accumulator.Tensors("landscape")] == [0, 2, 7]
    assert accumulator.SummaryMetadata("landscape").plugin_data.plugin_name == PLUGIN_NAME


def test_a_tensorboard_that_runs_follows_a_log_that_is_replaced_and_appended_to(tmp_path, loader):
    with EventFileLog(tmp_path / "run") as log:
        log.publish([event(1, 10), event(3, 30)])
        tensorboard = loader(tmp_path)
        assert tensorboard.shows({1: 10.0, 3: 30.0})
        log.publish([event(1, 11), event(2, 21), event(3, 31)])
        assert tensorboard.shows({1: 11.0, 2: 21.0, 3: 31.0})
        log.append(event(4, 41))
        assert tensorboard.shows({1: 11.0, 2: 21.0, 3: 31.0, 4: 41.0})
        log.publish([event(0, 2), event(3, 32)])
        log.publish([event(0, 3), event(2, 23)])
        assert tensorboard.shows({0: 3.0, 2: 23.0})
    assert loader(tmp_path).shows({0: 3.0, 2: 23.0})


def test_a_log_that_is_the_same_is_left_alone(tmp_path):
    events = [event(1, tag="a"), event(1, tag="b"), event(2, tag="a")]
    EventFileLog(tmp_path).publish(events)
    (path,) = files(tmp_path)
    before = path.read_bytes()
    later = [dataclasses.replace(one, wall_time=9e9, description="other") for one in events]
    assert EventFileLog(tmp_path).publish(iter(later)) is False
    assert files(tmp_path, empty=True) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "changed",
    [
        [event(1), event(2), event(3), event(4)],
        [event(1), event(2)],
        [event(1), event(2), event(3, 3.5)],
        [event(0), event(1), event(2), event(3)],
        [event(1), event(3)],
        [event(1, tag="other"), event(2), event(3)],
        [],
    ],
    ids=["longer", "shorter", "last differs", "one before", "one less", "other tag", "none"],
)
def test_a_log_that_differs_is_replaced_by_one_with_a_later_name(tmp_path, changed):
    log = EventFileLog(tmp_path)
    log.publish([event(1), event(2), event(3)])
    (before,) = files(tmp_path)
    changed = [dataclasses.replace(one, wall_time=one.wall_time + 0.5, description="new") for one in changed]
    assert log.publish(iter(changed)) is True
    (after,) = files(tmp_path)
    assert after.name > before.name
    again = list(read_events(tmp_path))
    assert values(again) == values(changed)
    assert [(one.wall_time, one.description) for one in again] == [(one.wall_time, "new") for one in changed]
    assert log.publish(changed) is False


def test_events_are_taken_one_at_a_time(tmp_path):
    alive: list[int] = []

    class Watched(SliceEvent):
        def __del__(self):
            alive.remove(self.step)

    def events(count: int):
        for step in range(count):
            assert len(alive) < 3
            alive.append(step)
            yield Watched(tag="a", step=step, wall_time=0.0, data=a_slice(step))

    log = EventFileLog(tmp_path)
    assert log.publish(events(10)) is True
    assert log.publish(events(10)) is False
    assert log.publish(events(12)) is True


@pytest.mark.parametrize("order", [(2, 1), (1, 1)])
def test_steps_that_do_not_ascend_are_refused_and_the_log_stays(tmp_path, order):
    log = EventFileLog(tmp_path)
    log.publish([event(5)])
    before = {path: path.read_bytes() for path in files(tmp_path, empty=True)}
    with pytest.raises(UsageError, match="ascending order"):
        log.publish([event(step) for step in order])
    assert {path: path.read_bytes() for path in files(tmp_path, empty=True)} == before


def test_a_tag_with_two_types_is_refused_and_the_log_stays(tmp_path):
    log = EventFileLog(tmp_path)
    with pytest.raises(TagTypeError, match="'landscape'"):
        log.publish([event(1), event(2, data=a_slice(1.0, "gradient_1d"))])
    assert list(tmp_path.iterdir()) == []
    log.publish([event(1)])
    with pytest.raises(TagTypeError, match="'landscape'"):
        log.append(event(2, data=a_slice(1.0, "gradient_1d")))
    assert values(read_events(tmp_path)) == [("landscape", 1, 1.0)]


def test_nothing_is_created_before_there_is_something_to_write(tmp_path):
    with EventFileLog(tmp_path / "run") as log:
        assert log.publish([]) is False
    assert not (tmp_path / "run").exists()


def test_an_exception_among_the_events_leaves_the_log_as_it_was(tmp_path):
    def events():
        yield event(1)
        yield event(2, 22.0)
        raise RuntimeError("the store is gone")

    log = EventFileLog(tmp_path)
    log.publish([event(1), event(2)])
    with pytest.raises(RuntimeError, match="the store is gone"):
        log.publish(events())
    assert values(read_events(tmp_path)) == [("landscape", 1, 1.0), ("landscape", 2, 2.0)]
    assert len(files(tmp_path, empty=True)) == 1
    log.append(event(3))
    assert [one.step for one in read_events(tmp_path)] == [1, 2, 3]


def test_events_are_appended_and_flushed(tmp_path):
    with EventFileLog(tmp_path) as log:
        log.append(event(1))
        for step in (2, 5):
            log.append(event(step))
            assert [one.step for one in read_events(tmp_path)][-1] == step
        log.append(event(0, tag="other"))
    assert values(read_events(tmp_path)) == [
        ("landscape", 1, 1.0),
        ("landscape", 2, 2.0),
        ("landscape", 5, 5.0),
        ("other", 0, 0.0),
    ]
    assert len(files(tmp_path, empty=True)) == 1


@pytest.mark.parametrize("step", [0, 5])
def test_an_appended_step_comes_after_those_of_its_tag(tmp_path, step):
    with EventFileLog(tmp_path) as log:
        log.publish([event(5)])
        with pytest.raises(UsageError, match=f"has step 5 already, so step {step}"):
            log.append(event(step))
    with pytest.raises(UsageError, match="has step 5 already"):
        EventFileLog(tmp_path).append(event(step))


def test_a_later_process_appends_to_what_is_there(tmp_path):
    EventFileLog(tmp_path).publish([event(1), event(2)])
    with EventFileLog(tmp_path) as log:
        log.append(event(3))
        assert EventFileLog(tmp_path).publish([event(1), event(2), event(3)]) is False
    with EventFileLog(tmp_path) as log:
        assert log.publish([event(1), event(2), event(3)]) is False
        log.append(event(4))
    assert [one.step for one in read_events(tmp_path)] == [1, 2, 3, 4]
    assert len(files(tmp_path, empty=True)) == 1


def test_a_log_that_another_has_replaced_is_appended_to_in_its_new_file(tmp_path):
    with EventFileLog(tmp_path) as log:
        log.append(event(1))
        EventFileLog(tmp_path).publish([event(2)])
        log.append(event(3))
    assert [one.step for one in read_events(tmp_path)] == [2, 3]


def test_slices_are_read_from_among_other_events(tmp_path):
    from tensorboard_loss_slicer.summary_v2 import log_slice

    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("loss", 1.0, 0)
        writer.add_text("note", "landscape", 0)
        log_slice("landscape", a_slice(4.0), step=3, description="live", writer=writer)
        writer.add_histogram("weights", np.arange(10.0), 1)
        log_slice("landscape", a_slice(5.0), step=4, writer=writer)
    (path,) = files(tmp_path)
    assert values(read_events(path)) == values(read_events(tmp_path)) == [("landscape", 3, 4.0), ("landscape", 4, 5.0)]
    assert next(read_events(path)).description == "live"


def test_a_tag_whose_metadata_is_in_its_first_event_only_is_read(tmp_path):
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    from tensorboard_loss_slicer.protos import Event, slice_summary

    writer = EventFileWriter(str(tmp_path))
    for step in range(2):
        summary = slice_summary("landscape", a_slice(float(step)), "once")
        if step:
            summary.value[0].ClearField("metadata")
        writer.add_event(Event(wall_time=1.0, step=step, summary=summary))
    writer.close()
    assert [(one.step, one.description) for one in read_events(tmp_path)] == [(0, "once"), (1, "once")]


def test_a_slice_that_can_not_be_decoded_is_named_by_file_tag_and_step(tmp_path):
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    from tensorboard_loss_slicer.protos import Event, slice_summary

    writer = EventFileWriter(str(tmp_path))
    for blobs in ([b"{}"], [], [b"\xff", b""]):
        writer.add_event(Event(step=6, summary=slice_summary("landscape", a_slice(1.0), blobs=blobs)))
    writer.close()
    (path,) = files(tmp_path)
    with pytest.raises(FormatError, match=f"{path}, tag 'landscape', step 6: "):
        list(read_events(tmp_path))


@pytest.mark.parametrize("missing", ["none", "none/events.out.tfevents.1.h.1.0", "."])
def test_a_path_without_event_files_is_an_error_at_once(tmp_path, missing):
    with pytest.raises(FormatError, match="no event file at"):
        read_events(tmp_path / missing)


def test_the_module_needs_neither_torch_nor_the_store():
    script = (
        "import sys, tensorboard_loss_slicer.event_files\n"
        "mine = {name for name in sys.modules if name.split('.')[0] in ('slicer_core', 'torch', 'pysclice')}\n"
        "allowed = ('slicer_core.slices', 'slicer_core.errors', 'slicer_core.version')\n"
        "print({name for name in mine if name != 'slicer_core' and not name.startswith(allowed)})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
