"""Event files of slices to write and look at, and the two loaders of TensorBoard to look with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.data.server_ingester import SubprocessServerDataIngester, get_server_binary
from tensorboard.errors import NotFoundError
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.grpc_util import ChannelCredsType

from slicer_core.slices import Axis, Slice, SliceArray, decode_slice
from tensorboard_loss_slicer.event_files import SliceEvent
from tensorboard_loss_slicer.metadata import PLUGIN_NAME
from tensorboard_loss_slicer.protos import Event, slice_summary


def a_slice(value: float, slice_type: str = "random_direction_1d", points: int = 3) -> Slice:
    return Slice(
        slice_type=slice_type,
        geometry="curve",
        axes=(Axis(name="alpha", label="alpha", values=np.linspace(-1, 1, points)),),
        arrays=(SliceArray(name="loss", split="train", role="value", values=np.full(points, value)),),
    )


def a_line(losses: Sequence[float]) -> Slice:
    return Slice(
        slice_type="gradient_1d",
        geometry="curve",
        axes=(Axis(name="alpha", label="α", values=np.arange(float(len(losses)))),),
        arrays=(SliceArray(name="loss", split="train", role="value", values=np.asarray(losses, dtype=float)),),
    )


UNREADABLE = None
"""In place of losses: a slice of which only the tag and the step can be read."""


def write_log(run: Path, slices: Iterable[tuple[str, int, Sequence[float] | None]]) -> None:
    """An event file of lines, as (tag, step, losses)."""
    run.mkdir(parents=True)
    writer = EventFileWriter(str(run))
    for tag, step, losses in slices:
        blobs = [b"{not json", b""] if losses is UNREADABLE else None
        summary = slice_summary(tag, a_line(losses or [0.0]), blobs=blobs)
        writer.add_event(Event(wall_time=1.0, step=step, summary=summary))
    writer.close()


def event(step: int, value: float | None = None, tag: str = "landscape", **changes) -> SliceEvent:
    data = a_slice(float(step) if value is None else value)
    return SliceEvent(**({"tag": tag, "step": step, "wall_time": 1000.0 + step, "data": data} | changes))


def values(events) -> list[tuple[str, int, float]]:
    return [(one.tag, one.step, float(one.data.loss[0])) for one in events]


def files(run: Path, *, empty: bool = False) -> list[Path]:
    return sorted(path for path in run.iterdir() if empty or path.stat().st_size)


def provided(provider) -> dict[int, float]:
    """Step -> value of the tag `landscape` in run `run`, as a plugin is given it."""
    where = {"experiment_id": "", "plugin_name": PLUGIN_NAME}
    series = provider.read_blob_sequences(RequestContext(), downsample=1000, **where).get("run", {})
    found: dict[int, float] = {}
    for datum in series.get("landscape", ()):
        blobs = [provider.read_blob(RequestContext(), blob_key=value.blob_key) for value in datum.values]
        found[datum.step] = float(decode_slice(blobs).loss[0])
    return found


class PythonLoader:
    """TensorBoard with `--load_fast false`."""

    def __init__(self, logdir: Path) -> None:
        self._logdir = str(logdir)
        self._multiplexer = EventMultiplexer(tensor_size_guidance={PLUGIN_NAME: 1000})

    def shows(self, expected: dict[int, float]) -> bool:
        self._multiplexer.AddRunsFromDirectory(self._logdir)
        self._multiplexer.Reload()
        return provided(MultiplexerDataProvider(self._multiplexer, self._logdir)) == expected

    def close(self) -> None:
        pass


class FastLoader:
    """TensorBoard with `--load_fast true`: a process that reads the log anew each second."""

    def __init__(self, logdir: Path) -> None:
        self._ingester = SubprocessServerDataIngester(
            server_binary=get_server_binary(),
            logdir=str(logdir),
            reload_interval=1,
            channel_creds_type=ChannelCredsType.LOCAL,
            samples_per_plugin={PLUGIN_NAME: 1000},
        )
        self._ingester.start()

    def close(self) -> None:
        # The process ends with its standard input.
        stdin = self._ingester._stdin_handle
        assert stdin is not None
        stdin.close()

    def shows(self, expected: dict[int, float]) -> bool:
        for _ in range(100):
            # A step may be forgotten between its listing and its reading.
            with contextlib.suppress(NotFoundError):
                if provided(self._ingester.data_provider) == expected:
                    return True
            time.sleep(0.1)
        return False
