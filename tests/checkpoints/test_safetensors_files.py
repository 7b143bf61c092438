from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slicer_core import parameters
from slicer_core.checkpoints.safetensors_format import SAFETENSORS, open_safetensors, write_safetensors
from slicer_core.errors import CheckpointError
from slicer_core.parameters import rows_of
from slicer_core.subject import match_state


def file_of(path: Path, header: Any, data: bytes = b"\0" * 64) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | changes


def test_tensors_of_all_common_kinds_come_back(tmp_path) -> None:
    tensors = {
        "a": torch.randn(2, 3),
        "b": torch.randn(4).bfloat16(),
        "c": torch.tensor(3.0).double(),
        "d": torch.arange(5),
        "e": torch.tensor([True, False]),
        "f": torch.randn(2).to(torch.float8_e4m3fn),
        "g": torch.zeros(0, 4),
    }
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(tensors, path, metadata={"step": "12"})
    contents = SAFETENSORS.contents(path)
    assert (contents.step, contents.step_unit) == (12, "step")
    read = SAFETENSORS.read(path)
    for name, tensor in tensors.items():
        assert torch.equal(read[name].double(), tensor.double())
        info = contents.tensors[name]
        assert (info.shape, info.num_bytes) == (tuple(tensor.shape), tensor.nbytes)
        assert f"torch.{info.dtype}" == str(tensor.dtype)


HEADERS: list[Any] = [
    [],
    "text",
    5,
    None,
    {"w": 5},
    {"w": []},
    {"w": {}},
    {"w": entry(dtype=["F32"])},
    {"w": entry(dtype=None)},
    {"w": entry(dtype={"a": 1})},
    {"w": entry(shape=3)},
    {"w": entry(shape="ab")},
    {"w": entry(shape=["2", "3"])},
    {"w": entry(shape=[-2, -3])},
    {"w": entry(shape=[2.0, 3.0])},
    {"w": entry(shape=[True, 3])},
    {"w": entry(shape=[[2], 3])},
    {"w": entry(shape=None)},
    {"w": entry(data_offsets=24)},
    {"w": entry(data_offsets=[])},
    {"w": entry(data_offsets=[0])},
    {"w": entry(data_offsets=[0, 24, 48])},
    {"w": entry(data_offsets=["0", "24"])},
    {"w": entry(data_offsets=[24, 0])},
    {"w": entry(data_offsets=[-24, 0])},
    {"w": entry(data_offsets={"0": 24})},
    {"w": entry(data_offsets=[0, 10**30])},
    {"__metadata__": [], "w": entry()},
    {"__metadata__": "x", "w": entry()},
    {"__metadata__": None, "w": entry()},
    b'{"w": ' + json.dumps(entry()).encode() + b', "w": ' + json.dumps(entry()).encode() + b"}",
    b'{"w": {"dtype": "F32", "dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}',
    b"{" * 100_000,
    b"{\xff}",
    b"{",
    b'{"w": NaN}',
    b'{"w": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 24]}}',
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_malformed_header_is_a_checkpoint_error_and_nothing_else(header, tmp_path) -> None:
    path = file_of(tmp_path / "a.safetensors", header)
    for read in (SAFETENSORS.contents, SAFETENSORS.read):
        with pytest.raises(CheckpointError, match=r"a\.safetensors"):
            read(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"w": entry(shape=[10**15])}, "24 bytes for w, whose shape and dtype need"),
        ({"w": entry(shape=[2, 4])}, "24 bytes for w, whose shape and dtype need 32"),
        ({"w": entry(), "v": entry(data_offsets=[32, 56])}, "leave a hole before v"),
        ({"w": entry(), "v": entry(data_offsets=[12, 36])}, "overlap before v"),
        ({"w": entry(), "v": entry(data_offsets=[24, 48])}, "8 bytes follow its tensors"),
    ],
    ids=["too large", "larger", "a hole", "an overlap", "bytes that are left"],
)
def test_a_header_that_does_not_fit_its_data_is_refused(header, message, tmp_path) -> None:
    path = file_of(tmp_path / "a.safetensors", header, b"\0" * 56)
    for read in (SAFETENSORS.contents, SAFETENSORS.read):
        with pytest.raises(CheckpointError, match=rf"a\.safetensors .*{message}"):
            read(path)
    with pytest.raises(safetensors.SafetensorError):
        safetensors.torch.load_file(path)


def test_a_name_that_is_there_twice_is_refused(tmp_path) -> None:
    """The library itself takes one of them."""
    text = b'{"w":%b,"w":%b}' % ((json.dumps(entry()).encode(),) * 2)
    path = file_of(tmp_path / "a.safetensors", text, b"\0" * 24)
    with pytest.raises(CheckpointError, match="a name is there twice"):
        SAFETENSORS.read(path)


def test_a_file_that_is_cut_short_says_so_wherever_it_is_cut(tmp_path, save) -> None:
    whole = save(tmp_path / "a.safetensors").read_bytes()
    path = tmp_path / "b.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        for read in (SAFETENSORS.contents, SAFETENSORS.read):
            with pytest.raises(CheckpointError, match=r"b\.safetensors"):
                read(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match=r"cut short: its tensors need 32 bytes, 31 are there"):
        SAFETENSORS.contents(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(at=st.integers(0, 200), byte=st.integers(0, 255))
def test_any_changed_byte_gives_tensors_or_a_checkpoint_error(at, byte, tmp_path, save) -> None:
    data = bytearray(save(tmp_path / "a.safetensors", step=3).read_bytes())
    data[at % len(data)] = byte
    path = tmp_path / "b.safetensors"
    path.write_bytes(bytes(data))
    for read in (SAFETENSORS.contents, SAFETENSORS.read):
        try:
            read(path)
        except CheckpointError as error:
            assert "b.safetensors" in str(error)  # noqa: PT017 - either outcome is right


def test_a_huge_claimed_header_is_not_read(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + b"{" + b" " * 50)
    with pytest.raises(CheckpointError, match=f"claims a safetensors header of {2**40} bytes"):
        SAFETENSORS.contents(path)
    assert not SAFETENSORS.recognizes(path, path.read_bytes()[:64])


def test_one_name_of_a_tied_pair_is_saved_and_read(tmp_path, network) -> None:
    model = network("attention").model
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_model(model, path)
    read = SAFETENSORS.read(path)
    assert ("embed.weight" in read) + ("head.weight" in read) == 1
    assert torch.equal(match_state(read, model, source="a")["embed.weight"], model.embed.weight)


def test_tensors_are_read_when_they_are_asked_for_by_rows(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(parameters, "BLOCK_BYTES", 16)
    tensors = {
        "a": torch.randn(5, 3),
        "b": torch.randn(9).bfloat16(),
        "c": torch.tensor(3.0).double(),
        "d": torch.tensor([True, False]),
        "e": torch.zeros(0, 4),
    }
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(tensors, path)
    found = open_safetensors(path)
    path.unlink()
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert torch.equal(rows_of(found, "a", 2, 4), tensors["a"][2:4])


def test_a_file_that_is_written_by_blocks_is_one_that_others_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(parameters, "BLOCK_BYTES", 16)
    tensors = {"a": torch.randn(5, 3), "t": torch.randn(4, 6).T, "c": torch.tensor(3.0), "d": torch.tensor([True])}
    write_safetensors(tmp_path / "a.safetensors", tensors)
    found = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_what_is_cut_short_or_contradicts_itself_is_told_at_the_reading(tmp_path) -> None:
    path = file_of(tmp_path / "a.safetensors", {"w": entry()}, b"\0" * 24)
    found = open_safetensors(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 5)
    with pytest.raises(CheckpointError, match="has been cut short while it was in use"):
        found["w"]
    path = file_of(tmp_path / "c.safetensors", {"w": entry(dtype="F4")}, b"\0" * 24)
    with pytest.raises(CheckpointError, match="has w in F4, which is no dtype of torch"):
        open_safetensors(path)
