"""Real logs and the real TensorBoard application for the plugin's tests."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tensorboard.backend.application import TensorBoardWSGIApp
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from werkzeug.test import Client

from slicer_core.slices import Axis, Center, Curve, Slice, SliceArray, encode_slice
from tensorboard_loss_slicer.metadata import create_summary_metadata
from tensorboard_loss_slicer.plugin import TBLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

HOSTILE_NAME = "<img src=x onerror=alert(1)>"


def grid_slice(seed: int = 0, shape: tuple[int, int] = (4, 3)) -> Slice:
    """A grid that is not square, with a range that starts at 0, and with values that are not finite."""
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    values[0, 0], values[0, 1], values[0, 2] = np.nan, np.inf, -np.inf
    return Slice(
        slice_type="random_direction_2d",
        geometry="grid",
        axes=(
            Axis(name="first", label="a", values=np.linspace(0.0, 1.0, shape[0])),
            Axis(name="second", label="b", values=np.linspace(-1.0, 1.0, shape[1])),
        ),
        arrays=(
            SliceArray(name="loss", split="train", role="value", values=values),
            SliceArray(name="loss", split="train", role="stderr", values=np.abs(values)),
        ),
        center=Center(loss={"train": 0.5}, step=seed),
    )


def curves_slice() -> Slice:
    """Two curves whose names a spreadsheet would take for formulas."""
    return Slice(
        slice_type="axis_parallel",
        geometry="curves",
        axes=(Axis(name="offset", label="offset", values=np.array([-1.0, 0.0, 1.0])),),
        arrays=(SliceArray(name="loss", split="train", role="value", values=np.arange(6.0).reshape(2, 3) - 3.5),),
        curves=(Curve(name="=HYPERLINK(1)", layer="@a"), Curve(name="fine", layer="-b")),
    )


def slice_event(
    tag: str,
    step: int,
    blobs: Sequence[bytes],
    *,
    slice_type: str = "random_direction_2d",
    geometry: str = "grid",
    description: str | None = None,
    wall_time: float | None = None,
    claimed_blobs: int | None = None,
) -> Event:
    """The event of one slice; `claimed_blobs` makes its shape lie about the number of blobs."""
    size = len(blobs) if claimed_blobs is None else claimed_blobs
    tensor = TensorProto(
        dtype=DT_STRING,
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=size)]),
        string_val=list(blobs),
    )
    value = Summary.Value(tag=tag, metadata=create_summary_metadata(slice_type, geometry, description), tensor=tensor)
    return Event(
        wall_time=1_700_000_000.0 + step if wall_time is None else wall_time, step=step, summary=Summary(value=[value])
    )


def write_events(folder: Path, events: Sequence[Event]) -> Path:
    """Writes one event file; returns the folder."""
    writer = EventFileWriter(str(folder))
    for event in events:
        writer.add_event(event)
    writer.close()
    return folder


def open_app(
    logdir: Path,
    *,
    samples: Mapping[str, int] | None = None,
    path_prefix: str = "",
    provider_class: Callable[..., Any] = MultiplexerDataProvider,
    **settings: Any,
) -> Client:
    """A client of TensorBoard's own application over the log, read by the Python loader."""
    flags = argparse.Namespace(
        logdir=str(logdir), path_prefix=path_prefix, window_title="", samples_per_plugin=dict(samples or {})
    )
    loader = TBLoader()
    loader.fix_flags(flags)
    multiplexer = EventMultiplexer(tensor_size_guidance=flags.samples_per_plugin)
    multiplexer.AddRunsFromDirectory(str(logdir))
    multiplexer.Reload()
    return Client(TensorBoardWSGIApp(flags, [loader], provider_class(multiplexer, str(logdir)), **settings))


@pytest.fixture(scope="session")
def logs() -> SimpleNamespace:
    """The functions above, since test files can't import one another."""
    return SimpleNamespace(
        HOSTILE_NAME=HOSTILE_NAME,
        curves_slice=curves_slice,
        grid_slice=grid_slice,
        open_app=open_app,
        slice_event=slice_event,
        write_events=write_events,
    )


@pytest.fixture(scope="session")
def slice_logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: one with grids and a family of curves, one whose name and tag are markup."""
    logdir = tmp_path_factory.mktemp("log")
    grids = [slice_event("random2d", step, encode_slice(grid_slice(step))) for step in (0, 10, 20)]
    curves = slice_event(
        "axis", 5, encode_slice(curves_slice()), slice_type="axis_parallel", geometry="curves", description="<b>a</b>"
    )
    write_events(logdir / "exp" / "loss_slicer", [*grids, curves])
    write_events(logdir / HOSTILE_NAME, [slice_event(HOSTILE_NAME, 1, encode_slice(grid_slice(1)))])
    return logdir
