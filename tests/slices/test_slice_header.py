from __future__ import annotations

import dataclasses
import json
import math

import hypothesis.extra.numpy as arrays_of
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicer_core.errors import FormatError
from slicer_core.slices import (
    GEOMETRIES,
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
    parse_header,
    slice_id,
)
from slicer_core.slices import header as header_module
from slicer_core.slices.codec import CODECS
from slicer_core.slices.slice import ROLES

FINITE = st.floats(allow_nan=False, allow_infinity=False)
OR_NAN = FINITE | st.just(math.nan)
TEXT = st.text(max_size=8)
SPLITS = st.sampled_from(["train", "test"])
LOSSES = st.dictionaries(SPLITS, OR_NAN, max_size=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
JSON_MAP = st.dictionaries(TEXT, JSON, max_size=3)


@st.composite
def slices(draw) -> Slice:
    slice_type = draw(st.sampled_from(sorted(GEOMETRIES)))
    geometry = draw(st.sampled_from(GEOMETRIES[slice_type]))
    axes = 2 if geometry == "grid" else 1
    sizes = tuple(draw(st.lists(st.integers(1, 6), min_size=axes, max_size=axes)))
    curves = draw(st.lists(CURVES, min_size=int(geometry == "curves"), max_size=4))
    shape = (len(curves), *sizes) if geometry == "curves" else sizes
    values = st.sampled_from(["<f4", "<f8", "<i8"]).flatmap(lambda dtype: arrays_of.arrays(dtype, shape))
    return Slice(
        slice_type=slice_type,
        geometry=geometry,
        status=draw(st.sampled_from(["complete", "provisional"])),
        filled=draw(st.floats(0, 1)),
        axes=tuple(
            Axis(name=draw(TEXT), label=draw(TEXT), values=draw(arrays_of.arrays("<f8", size, elements=FINITE)))
            for size in sizes
        ),
        arrays=tuple(
            SliceArray(
                name=draw(TEXT),
                split=draw(SPLITS),
                role=draw(st.sampled_from(ROLES)),
                values=draw(values),
            )
            for _ in range(draw(st.integers(1, 3)))
        ),
        curves=tuple(curves),
        directions=tuple(draw(st.lists(DIRECTIONS, max_size=2))),
        cosine=draw(st.none() | FINITE),
        center=draw(st.none() | CENTERS),
        measures=draw(st.dictionaries(TEXT, MEASURES, max_size=2)),
        markers=tuple(draw(st.lists(MARKERS, max_size=2))),
        trajectory=draw(st.none() | JSON_MAP),
        checkpoint=draw(st.none() | JSON_MAP),
        evaluation=draw(JSON_MAP),
        config=draw(JSON_MAP),
    )


INDEX = st.lists(st.integers(0, 10**6), max_size=3).map(tuple)
CURVES = st.builds(Curve, name=TEXT, layer=TEXT, index=INDEX, shape=INDEX, center=st.none() | FINITE)
DIRECTIONS = st.builds(
    Direction,
    name=TEXT,
    recipe=JSON_MAP,
    norm=OR_NAN,
    explained_variance=st.none() | FINITE,
    eigenvalue=st.none() | FINITE,
)
CENTERS = st.builds(
    Center,
    loss=LOSSES,
    metrics=st.dictionaries(TEXT, LOSSES, max_size=2),
    step=st.none() | st.integers(0, 10**9),
    norm=st.none() | FINITE,
    whole_loss=LOSSES,
    data_loss=LOSSES,
)
MEASURES = st.builds(Measure, value=OR_NAN, error=st.none() | FINITE, details=JSON_MAP)
MARKERS = st.builds(Marker, name=TEXT, coordinates=st.lists(FINITE, min_size=1, max_size=2).map(tuple), loss=LOSSES)


def comparable(value):
    """Nested plain values in which NaN equals itself and arrays compare by their bits."""
    if dataclasses.is_dataclass(value):
        return {field.name: comparable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, dict):
        return {key: comparable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [comparable(entry) for entry in value]
    return repr(value)


def a_curve(**changes) -> Slice:
    fields = {
        "slice_type": "random_direction_1d",
        "geometry": "curve",
        "axes": (Axis(name="a", label="a", values=np.linspace(-1, 1, 5)),),
        "arrays": (SliceArray(name="loss", split="train", role="value", values=np.arange(5.0)),),
    }
    return Slice(**(fields | changes))


@given(data=slices(), codec=st.sampled_from(CODECS))
def test_every_slice_comes_back_with_all_its_fields(data, codec):
    again = decode_slice(encode_slice(data, codec))
    assert comparable(again) == comparable(data)


@given(data=slices())
def test_the_dictionary_of_a_slice_gives_the_slice_back(data):
    assert comparable(Slice.from_dict(data.to_dict())) == comparable(data)


@given(data=slices(), codec=st.sampled_from(CODECS))
def test_the_id_is_the_same_for_each_codec_and_after_reading(data, codec):
    blobs = encode_slice(data, codec)
    assert parse_header(blobs[0])["id"] == slice_id(data) == slice_id(decode_slice(blobs))


def test_the_id_tells_slices_apart_that_differ_in_one_bit():
    zeros = [np.array([0.0, 0.0]), np.array([0.0, -0.0]), np.array([0, 0])]
    axis = Axis(name="a", label="a", values=np.array([0.0, 1.0]))
    ids = {
        slice_id(a_curve(axes=(axis,), arrays=(SliceArray(name="loss", split="train", role="value", values=values),)))
        for values in zeros
    }
    assert len(ids) == 3


def test_the_header_is_strict_json_though_the_numbers_are_not_finite():
    values = np.array([np.nan, np.inf, -np.inf, 2.0, -3.0])
    data = a_curve(
        arrays=(SliceArray(name="loss", split="train", role="value", values=values),),
        center=Center(loss={"train": math.inf}),
        measures={"barrier": Measure(value=math.nan, error=-math.inf)},
        config={"tolerance": math.nan, "nested": [np.float32("inf"), {"x": np.array([1.0, np.nan])}]},
    )

    def refuse(name: str):
        raise AssertionError(name)

    header = json.loads(encode_slice(data)[0], parse_constant=refuse)
    (array,) = header["arrays"]
    assert (array["min"], array["max"], array["nonfinite"]) == (-3.0, 2.0, 3)
    assert header["center"]["loss"] == {"train": None}
    assert header["measures"] == {"barrier": {"value": None, "error": None}}
    assert header["config"] == {"tolerance": None, "nested": [None, {"x": [1.0, None]}]}


def test_an_array_of_nothing_finite_has_no_range():
    values = np.full(5, np.nan)
    header = parse_header(
        encode_slice(a_curve(arrays=(SliceArray(name="loss", split="train", role="value", values=values),)))[0]
    )
    assert (header["arrays"][0]["min"], header["arrays"][0]["max"], header["arrays"][0]["nonfinite"]) == (None, None, 5)


def test_integers_and_tensors_like_numbers_have_the_id_of_the_same_floats():
    whole = a_curve(filled=1, center=Center(loss={"train": 2}, norm=3), cosine=np.float64(0))
    floats = a_curve(filled=1.0, center=Center(loss={"train": 2.0}, norm=3.0), cosine=0.0)
    assert slice_id(whole) == slice_id(floats)


def test_unknown_fields_of_a_later_release_are_ignored():
    blobs = encode_slice(a_curve())
    header = json.loads(blobs[0])
    header["later"] = {"anything": [1, 2]}
    header["arrays"][0]["later"] = 3
    header["axes"][0]["later"] = None
    assert comparable(decode_slice([json.dumps(header).encode(), *blobs[1:]])) == comparable(a_curve())


def test_text_that_is_no_utf8_is_stored_all_the_same():
    data = a_curve(checkpoint={"path": "weights-\udcff.pt", "step": 3})
    assert decode_slice(encode_slice(data)).checkpoint == {"path": "weights-\udcff.pt", "step": 3}


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", 1 + 2j])
def test_what_json_can_not_hold_is_refused_with_the_fields_named(value):
    with pytest.raises(FormatError, match="config hold texts, numbers, lists and dictionaries only"):
        encode_slice(a_curve(config={"value": value}))


def test_a_dictionary_that_holds_itself_is_refused():
    endless: dict = {}
    endless["again"] = endless
    with pytest.raises(FormatError, match="config"):
        encode_slice(a_curve(config=endless))


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"3",
        b"null",
        b"[" * 100_000,
        b'{"schema":1,"x":' + b"[" * 100_000,
        b'{"schema":1,"x":' + b"9" * 5_000 + b"}",
        b'{"schema":1,"x":NaN}',
        b'{"schema":1,"x":-Infinity}',
        b"{}",
        b'{"schema":2}',
        b'{"schema":true}',
        b'{"schema":"1"}',
        b'{"schema":[1]}',
    ],
)
def test_a_header_that_is_no_header_is_a_format_error(blob):
    with pytest.raises(FormatError):
        parse_header(blob)


def test_a_later_schema_says_what_to_do():
    with pytest.raises(FormatError, match="schema 2, this version reads 1: update tensorboard-loss-slicer"):
        parse_header(b'{"schema":2}')


def test_a_header_above_the_limit_is_not_parsed():
    with pytest.raises(FormatError, match="above the limit"):
        parse_header(b" " * (header_module.MAX_HEADER_BYTES + 1))


HOSTILE = {
    "schema": [None],
    "slice_type": [None, 3, "", "landscape", ["custom"], {"a": 1}],
    "geometry": [None, "sphere", "grid", "curves", ["curve"], 0],
    "status": ["done", None, 1, ["complete"]],
    "filled": [-0.1, 1.1, None, "half", [1]],
    "axes": [None, [], {}, 3, [1], [{"name": "a"}], [{"name": "a", "label": "a", "values": "01234"}]],
    "arrays": [None, [], {}, [1], [{}], "loss"],
    "curves": [3, [1], [{}], [{"name": 1, "layer": ""}], [{"name": "", "layer": "", "index": [1e400]}]],
    "directions": [3, [1], [{}], [{"name": "d", "recipe": 3, "norm": 1}], [{"name": "d", "recipe": {}, "norm": "n"}]],
    "cosine": ["x", [1], {}],
    "center": [3, [1], {"loss": 3}, {"loss": {"train": "x"}}, {"loss": {}, "step": "x"}, {"metrics": {"a": 3}}],
    "measures": [3, [1], {"a": 3}, {"a": {"value": "x"}}],
    "markers": [3, [1], [{}], [{"name": "m", "coordinates": 3}], [{"name": "m", "coordinates": ["x"]}]],
    "trajectory": [3, [1], "text"],
    "checkpoint": [3, [1], "text"],
    "evaluation": [3, [1], "text"],
    "config": [3, [1], "text"],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in HOSTILE.items() for value in values])
def test_a_field_of_the_wrong_form_is_a_format_error(field, value):
    blobs = encode_slice(a_curve())
    header = json.loads(blobs[0]) | {field: value}
    with pytest.raises(FormatError):
        decode_slice([json.dumps(header).encode(), *blobs[1:]])


@pytest.mark.parametrize(
    "change",
    [
        {"blob": 0},
        {"blob": 2},
        {"blob": -1},
        {"blob": True},
        {"blob": "1"},
        {"blob": 10**30},
        {"shape": [4]},
        {"shape": [6]},
        {"shape": [5, 1]},
        {"shape": 5},
        {"shape": [2**62]},
        {"shape": [int("9" * 4000)] * 2},
        {"shape": [1] * 70},
        {"shape": []},
        {"dtype": "f4"},
        {"dtype": None},
        {"dtype": "O"},
        {"codec": "raw"},
        {"codec": None},
        {"role": "mean"},
        {"name": None},
        {"split": 3},
    ],
)
def test_an_array_record_that_lies_is_a_format_error(change):
    blobs = encode_slice(a_curve())
    header = json.loads(blobs[0])
    header["arrays"][0] |= change
    with pytest.raises(FormatError):
        decode_slice([json.dumps(header).encode(), *blobs[1:]])


def test_a_small_file_can_not_name_one_blob_until_memory_is_full(monkeypatch):
    monkeypatch.setattr(header_module, "MAX_SLICE_BYTES", 3 * 40)
    blobs = encode_slice(a_curve())
    header = json.loads(blobs[0])
    header["arrays"] *= 3
    assert len(decode_slice([json.dumps(header).encode(), *blobs[1:]]).arrays) == 3
    header["arrays"].append(header["arrays"][0])
    with pytest.raises(FormatError, match="limit"):
        decode_slice([json.dumps(header).encode(), *blobs[1:]])


def test_a_slice_that_could_not_be_read_again_is_not_stored(monkeypatch):
    monkeypatch.setattr(header_module, "MAX_ARRAY_BYTES", 39)
    with pytest.raises(FormatError, match="take fewer points"):
        encode_slice(a_curve())


def test_no_blobs_at_all_is_a_format_error():
    with pytest.raises(FormatError, match="found none"):
        decode_slice([])


@given(data=slices(), position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), which=st.integers(0, 1))
def test_a_flipped_byte_gives_a_slice_or_a_format_error(data, position, byte, which):
    blobs = encode_slice(data)
    damaged = bytearray(blobs[which])
    if damaged:
        damaged[int(position * len(damaged))] = byte
    blobs[which] = bytes(damaged)
    try:
        again = decode_slice(blobs)
    except FormatError:
        return
    assert isinstance(again, Slice)
    assert all(array.values.shape == again.shape for array in again.arrays)
