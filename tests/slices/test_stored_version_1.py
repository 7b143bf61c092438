"""Slices that were stored by the first release: `tests/fixtures/slice_v1/<name>.<blob>.bin`, never written again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slicer_core.slices import (
    Axis,
    Center,
    Curve,
    Direction,
    Marker,
    Measure,
    Slice,
    SliceArray,
    decode_slice,
    encode_slice,
    slice_id,
)

FIXTURES = Path(__file__).parents[1] / "fixtures" / "slice_v1"

CURVE = Slice(
    slice_type="linear_interpolation",
    geometry="curve",
    axes=(Axis(name="alpha", label="first to last", values=np.array([-0.5, 0.0, 0.1, 1.0, 1.5])),),
    arrays=(
        SliceArray(
            name="loss", split="train", role="value", values=np.array([np.inf, 2.3, 1e-300, -0.0, np.nan], np.float64)
        ),
        SliceArray(name="loss", split="train", role="count", values=np.array([0, 1, -1, 2**62, 1000], np.int64)),
    ),
    center=Center(loss={"train": 2.3, "test": float("nan")}, metrics={"accuracy": {"train": 0.5}}, step=7, norm=12.25),
    measures={"barrier": Measure(value=0.1, error=0.01), "width": Measure(value=1.5)},
    markers=(
        Marker(name="first", coordinates=(0.0,), loss={"train": 2.3}),
        Marker(name="last \u2028 <b>", coordinates=(1.0,)),
    ),
    directions=(Direction(name="alpha", recipe={"kind": "between", "to": "last", "norms": [1, 2.5, None]}, norm=3.5),),
    checkpoint={"path": "checkpoints/00007.pt", "step": 7, "step_unit": "epoch"},
    evaluation={"samples": 1000, "device": "cpu", "dtype": "float32", "versions": {"torch": "2.10.0"}},
    config={"method": "linear", "range": [-0.5, 1.5]},
)

CURVES = Slice(
    slice_type="axis_parallel",
    geometry="curves",
    status="provisional",
    filled=0.75,
    axes=(Axis(name="offset", label="offset from the center", values=np.array([-1.0, 0.0, 1.0])),),
    arrays=(
        SliceArray(
            name="loss",
            split="test",
            role="value",
            values=np.array([[3.5, 0.25, 3.25], [0.1, 0.2, np.nan]], np.float32),
        ),
    ),
    curves=(
        Curve(name="0.weight[3,17]", layer="0", index=(3, 17), shape=(64, 128), center=-0.125),
        Curve(name="0.bias", layer="0", index=(), shape=(64,), center=None),
    ),
)

GRID = Slice(
    slice_type="pca_2d",
    geometry="grid",
    axes=(
        Axis(name="alpha", label="first component", values=np.array([0.0, 0.5, 1.0])),
        Axis(name="beta", label="second component", values=np.array([-1.0, 1.0])),
    ),
    arrays=(
        SliceArray(name="loss", split="train", role="value", values=np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]])),
        SliceArray(name="loss", split="train", role="stderr", values=np.full((3, 2), 0.125)),
        SliceArray(
            name="loss", split="train", role="interpolated", values=np.array([[0, 0], [1, 0], [0, 1]], np.int64)
        ),
    ),
    directions=(
        Direction(name="alpha", recipe={"kind": "pca"}, norm=1.0, explained_variance=0.75),
        Direction(name="beta", recipe={"kind": "hessian"}, norm=1.0, explained_variance=0.125, eigenvalue=-2.5),
    ),
    cosine=-0.0078125,
    trajectory={"steps": [0, 1], "coordinates": [[0.0, 0.0], [1.0, -0.5]], "residuals": [0.0, 0.25]},
)

STORED = {"curve": (CURVE, "raw"), "curves": (CURVES, "zlib"), "grid": (GRID, "shuffle-zlib")}
IDS = {
    "curve": "176652636b5be5cdf9c4d5ca51ae65c9",
    "curves": "575bac3e19d75b876efaa3e488269a0a",
    "grid": "dccd1a27e9983e35faf1efcacb2cefdd",
}


def stored_blobs(name: str) -> list[bytes]:
    paths = sorted(FIXTURES.glob(f"{name}.*.bin"), key=lambda path: int(path.suffixes[-2][1:]))
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize("name", STORED)
def test_version_1_is_read_with_every_field(name):
    expected, _ = STORED[name]
    data = decode_slice(stored_blobs(name))
    for array, wanted in zip(data.arrays, expected.arrays, strict=True):
        assert (array.name, array.split, array.role) == (wanted.name, wanted.split, wanted.role)
        assert (array.values.dtype, array.values.shape) == (wanted.values.dtype, wanted.values.shape)
        assert array.values.tobytes() == wanted.values.tobytes()
    for axis, wanted in zip(data.axes, expected.axes, strict=True):
        assert (axis.name, axis.label, axis.values.tolist()) == (wanted.name, wanted.label, wanted.values.tolist())
    assert repr(data.center) == repr(expected.center)
    for field in ("slice_type", "geometry", "status", "filled", "curves", "directions", "cosine", "measures"):
        assert getattr(data, field) == getattr(expected, field)
    for field in ("markers", "trajectory", "checkpoint", "evaluation", "config"):
        assert getattr(data, field) == getattr(expected, field)


@pytest.mark.parametrize("name", STORED)
def test_version_1_is_still_what_is_written(name):
    expected, codec = STORED[name]
    written, stored = encode_slice(expected, codec), stored_blobs(name)
    # Another zlib may compress to other bytes: their number is all that may differ in the header.
    assert header_but_sizes(written[0]) == header_but_sizes(stored[0])
    if codec == "raw":
        assert written == stored


@pytest.mark.parametrize("name", STORED)
def test_the_id_of_a_slice_never_changes(name):
    assert slice_id(STORED[name][0]) == IDS[name]
    assert json.loads(stored_blobs(name)[0])["id"] == IDS[name]


def header_but_sizes(blob: bytes) -> str:
    header = json.loads(blob)
    for array in header["arrays"]:
        assert array.pop("bytes") >= 0
    # Not sorted: the order of the fields is compared too.
    return json.dumps(header)
