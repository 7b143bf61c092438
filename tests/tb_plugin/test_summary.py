from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.compat.proto import summary_pb2, types_pb2
from tensorboard.context import RequestContext
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch.utils.tensorboard import SummaryWriter

import tensorboard_loss_slicer
from slicer_core.errors import FormatError, SlicerError, UsageError
from slicer_core.slices import Axis, Slice, SliceArray, decode_slice, encode_slice, slice_from_plain
from tensorboard_loss_slicer import read_events, summary_v2
from tensorboard_loss_slicer.metadata import PLUGIN_NAME, parse_plugin_content
from tensorboard_loss_slicer.summary_v2 import TagTypeError, log_slice, slice_summary

LINE = {"samples": [(0.0, 2.5), (0.5, 1.0), (1.0, 3.0)], "start_loss": 2.5, "end_loss": 3.0}
FAMILY = {
    "slices": [
        {"parameter_index": 3, "parameter_name": "0.bias", "layer_name": "0", "samples": [(-1, 4.0), (1, 2.0)]},
        {"parameter_index": 4, "parameter_name": "0.bias", "layer_name": "0", "samples": [(-1, 5.0), (1, 6.0)]},
    ]
}
GRID = Slice(
    slice_type="random_direction_2d",
    geometry="grid",
    axes=(
        Axis(name="alpha", label="alpha", values=np.array([0.0, 0.5, 1.0])),
        Axis(name="beta", label="beta", values=np.array([-1.0, 1.0])),
    ),
    arrays=(
        SliceArray(
            name="loss", split="train", role="value", values=np.array([[1.0, np.nan], [np.inf, -0.0], [5.0, 6.0]])
        ),
    ),
)


class Provided:
    """A log as TensorBoard's own Python loader provides it to plugins."""

    def __init__(self, logdir: Path) -> None:
        multiplexer = EventMultiplexer(tensor_size_guidance={PLUGIN_NAME: 1000})
        multiplexer.AddRunsFromDirectory(str(logdir))
        multiplexer.Reload()
        self._provider = MultiplexerDataProvider(multiplexer, str(logdir))
        self._filter = {"experiment_id": "", "plugin_name": PLUGIN_NAME}

    def tags(self) -> dict:
        return self._provider.list_blob_sequences(RequestContext(), **self._filter)

    def slices(self, run: str, tag: str) -> dict[int, Slice]:
        series = self._provider.read_blob_sequences(RequestContext(), downsample=1000, **self._filter)[run][tag]
        return {
            datum.step: decode_slice(
                [self._provider.read_blob(RequestContext(), blob_key=value.blob_key) for value in datum.values]
            )
            for datum in series
        }


def test_a_summary_is_a_rank_1_tensor_of_the_slices_blobs():
    summary = slice_summary("landscape", GRID, "Around **the** center")
    (value,) = summary.value
    assert value.tag == "landscape"
    assert value.tensor.dtype == types_pb2.DT_STRING
    assert [dim.size for dim in value.tensor.tensor_shape.dim] == [2]
    assert list(value.tensor.string_val) == encode_slice(GRID)
    assert value.metadata.data_class == summary_pb2.DATA_CLASS_BLOB_SEQUENCE
    assert value.metadata.summary_description == "Around **the** center"
    assert value.metadata.plugin_data.plugin_name == "loss_slicer"
    assert parse_plugin_content(value.metadata.plugin_data.content) == {
        "schema": 1,
        "slice_type": "random_direction_2d",
        "geometry": "grid",
    }


def test_what_is_logged_is_what_tensorboard_provides(tmp_path):
    with SummaryWriter(tmp_path / "run") as writer:
        log_slice("grid", GRID, step=3, description="A grid", writer=writer)
        log_slice("line", LINE, step=0, writer=writer)
        log_slice("family", FAMILY, step=5, writer=writer)
    provided = Provided(tmp_path)
    tags = provided.tags()["run"]
    assert sorted(tags) == ["family", "grid", "line"]
    assert (tags["grid"].description, tags["grid"].max_step) == ("A grid", 3)
    assert {tag: parse_plugin_content(tags[tag].plugin_content)["slice_type"] for tag in tags} == {
        "grid": "random_direction_2d",
        "line": "linear_interpolation",
        "family": "axis_parallel",
    }
    (grid,) = provided.slices("run", "grid").values()
    assert grid.loss.tobytes() == GRID.loss.tobytes()
    assert grid.axes[0].values.tolist() == [0.0, 0.5, 1.0]
    (line,) = provided.slices("run", "line").values()
    assert line.loss.tolist() == [2.5, 1.0, 3.0]
    (family,) = provided.slices("run", "family").values()
    assert family.loss.tolist() == [[4.0, 2.0], [5.0, 6.0]]


def test_a_slice_is_on_disk_when_log_slice_returns(tmp_path):
    writer = SummaryWriter(tmp_path)
    log_slice("line", LINE, writer=writer)
    (event,) = read_events(tmp_path)
    assert event.data.loss.tolist() == [2.5, 1.0, 3.0]
    writer.close()


def test_the_dictionary_of_a_slice_logs_the_slice(tmp_path):
    log_slice("grid", GRID.to_dict(), logdir=tmp_path)
    (event,) = read_events(tmp_path)
    assert event.data.loss.tobytes() == GRID.loss.tobytes()


def test_steps_count_up_for_each_tag_and_writer(tmp_path):
    with SummaryWriter(tmp_path / "one") as one, SummaryWriter(tmp_path / "two") as two:
        for _ in range(2):
            log_slice("a", LINE, writer=one)
        log_slice("b", LINE, writer=one)
        log_slice("a", LINE, step=10, writer=one)
        log_slice("a", LINE, step=7, writer=one)
        log_slice("a", LINE, writer=one)
        log_slice("a", LINE, writer=two)
    assert [(event.tag, event.step) for event in read_events(tmp_path / "one")] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
        ("a", 10),
        ("a", 7),
        ("a", 11),
    ]
    assert [(event.tag, event.step) for event in read_events(tmp_path / "two")] == [("a", 0)]


@pytest.mark.parametrize("step", [np.int64(4), np.array(4), 4])
def test_a_step_may_be_a_whole_number_of_any_library(tmp_path, step):
    log_slice("line", LINE, step=step, logdir=tmp_path)
    assert [event.step for event in read_events(tmp_path)] == [4]


@pytest.mark.parametrize("step", [1.5, "3", np.zeros(2), [1]])
def test_a_step_that_is_no_whole_number_is_refused_before_anything_is_written(tmp_path, step):
    with pytest.raises(UsageError, match="step is a whole number"):
        log_slice("line", LINE, step=step, logdir=tmp_path / "never")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_tag_is_a_text(tmp_path, name):
    with pytest.raises(UsageError, match="name is the tag"):
        log_slice(name, LINE, logdir=tmp_path / "never")


def test_one_tag_has_one_type(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        log_slice("landscape", LINE, writer=writer)
        with pytest.raises(ValueError, match="'landscape' holds slices of type 'linear_interpolation'") as caught:
            log_slice("landscape", GRID, writer=writer)
        assert isinstance(caught.value, (TagTypeError, SlicerError))
        with pytest.raises(ValueError, match="'bezier_curve'"):
            log_slice("landscape", LINE, slice_type="bezier_curve", writer=writer)
        log_slice("landscape", LINE, writer=writer)
    assert [(event.step, event.data.slice_type) for event in read_events(tmp_path)] == [
        (0, "linear_interpolation"),
        (1, "linear_interpolation"),
    ]


def test_custom_slices_of_a_tag_have_one_geometry(tmp_path):
    log_slice("mine", LINE, slice_type="custom", logdir=tmp_path)
    with pytest.raises(TagTypeError, match=r"'custom' \(curve\).*'custom' \(grid\)"):
        log_slice("mine", GRID, slice_type="custom", logdir=tmp_path)


def test_a_type_that_is_given_is_stored(tmp_path):
    log_slice("line", LINE, slice_type="gradient_1d", logdir=tmp_path)
    (event,) = read_events(tmp_path)
    assert event.data.slice_type == "gradient_1d"


def test_bad_data_is_refused_with_the_accepted_forms_and_writes_nothing(tmp_path):
    with pytest.raises(FormatError, match="parameter_index"):
        log_slice("line", {"loss": [1, 2]}, logdir=tmp_path / "never")
    with pytest.raises(FormatError, match="geometry curve, not 'grid'"):
        log_slice("line", GRID, slice_type="linear_interpolation", logdir=tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_threads_may_log_at_once(tmp_path):
    writer = EventFileWriter(str(tmp_path))
    threads = [
        threading.Thread(target=lambda: [log_slice("line", LINE, writer=writer) for _ in range(5)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert [event.step for event in read_events(tmp_path)] == list(range(20))


def test_the_debug_variable_is_read_when_a_slice_is_logged(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("TENSORBOARD_LOSS_SLICER_DEBUG", raising=False)
    log_slice("line", LINE, logdir=tmp_path)
    assert not caplog.records
    monkeypatch.setenv("TENSORBOARD_LOSS_SLICER_DEBUG", "1")
    log_slice("line", LINE, step=8, logdir=tmp_path)
    (record,) = caplog.records
    assert (record.name, record.levelno, record.funcName) == ("tensorboard_loss_slicer", logging.DEBUG, "log_slice")
    for part in ("'line'", "step 8", "linear_interpolation", "[3]", str(tmp_path)):
        assert part in record.getMessage()


def test_debug_mode_refuses_a_slice_that_is_not_read_back_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOSS_SLICER_DEBUG", "1")
    changed = GRID.loss.copy()
    changed[1, 1] = 0.0
    other = SliceArray(name="loss", split="train", role="value", values=changed)
    blobs = encode_slice(Slice(slice_type="random_direction_2d", geometry="grid", axes=GRID.axes, arrays=(other,)))
    monkeypatch.setattr(summary_v2, "encode_slice", lambda data: blobs)
    with pytest.raises(FormatError, match="read back with other values"):
        log_slice("grid", GRID, logdir=tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_debug_lines_are_shown_by_a_script_that_sets_up_no_logging(tmp_path):
    script = (
        "import os; from tensorboard_loss_slicer.summary_v2 import log_slice\n"
        "os.environ['TENSORBOARD_LOSS_SLICER_DEBUG'] = '1'\n"
        f"log_slice('line', {LINE!r}, logdir={str(tmp_path)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.count("logged slice 'line'") == 1


def test_neither_the_package_nor_logging_imports_torch(tmp_path):
    script = (
        "import sys, tensorboard_loss_slicer as plugin\n"
        "assert not any(name.startswith(('tensorboard.', 'numpy')) for name in sys.modules), 'the package is lazy'\n"
        "plugin.log_slice('line', {'samples': [(0, 1)]}, logdir=sys.argv[1])\n"
        "list(plugin.read_events(sys.argv[1])); plugin.EventFileLog(sys.argv[1] + '/x').publish([])\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


def test_every_public_name_of_the_package_is_there_and_documented():
    assert set(tensorboard_loss_slicer.__all__) <= set(dir(tensorboard_loss_slicer))
    for name in tensorboard_loss_slicer.__all__:
        assert getattr(tensorboard_loss_slicer, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'log_slices'"):
        tensorboard_loss_slicer.log_slices  # noqa: B018


def test_a_plain_line_is_the_slice_that_it_describes(tmp_path):
    log_slice("line", LINE, logdir=tmp_path)
    (event,) = read_events(tmp_path)
    assert event.data.markers == slice_from_plain(LINE).markers
