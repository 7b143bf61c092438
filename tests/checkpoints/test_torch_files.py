from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from slicer_core.checkpoints import recognize
from slicer_core.checkpoints.torch_format import TORCH
from slicer_core.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore:.*TorchScript archive", "ignore:.*jit.*deprecated:DeprecationWarning")


def assert_same(read: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("key", [None, "model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_is_found_by_itself_or_under_the_usual_keys(key, legacy, tmp_path, weights) -> None:
    path = tmp_path / "a.pt"
    saved = weights(2.0) if key is None else {key: weights(2.0), "optimizer": {"lr": 0.1}, "epoch": 3}
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    assert recognize(path) is TORCH
    assert_same(TORCH.read(path), weights(2.0))
    contents = TORCH.contents(path)
    assert {name: info.shape for name, info in contents.tensors.items()} == {"layer.weight": (2, 3), "layer.bias": (2,)}
    assert contents.tensors["layer.weight"].num_bytes == 24
    assert (contents.step, contents.step_unit) == ((None, "step") if key is None else (3, "epoch"))


def test_a_modules_own_state_dict_with_parameters_inside(tmp_path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    torch.save({"model": collections.OrderedDict(model.named_parameters())}, tmp_path / "a.pt")
    assert_same(TORCH.read(tmp_path / "a.pt"), {name: p.detach() for name, p in model.named_parameters()})


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (
            {"state_dict": {"w": torch.ones(1)}, "model": {"w": torch.ones(1)}},
            "not guessed: state_dict .*, model .*--weights KEY",
        ),
        ({"loss": {"train": torch.tensor(1.0)}}, "not a state dict: its entries are loss; expected tensors"),
        ({"optimizer": {"momentum": torch.ones(1)}}, "not a state dict: its entries are optimizer"),
        ({}, "its entries are none"),
        ([torch.ones(1)], "holds a list"),
        (torch.ones(3), "holds a Tensor"),
        ({"w": torch.ones(1), "epochs": [3]}, "not a state dict"),
    ],
)
def test_other_contents_are_described(saved, message, tmp_path) -> None:
    torch.save(saved, tmp_path / "a.pt")
    for read in (TORCH.contents, TORCH.read):
        with pytest.raises(CheckpointError, match=rf"a\.pt .*{message}"):
            read(tmp_path / "a.pt")


def test_a_dictionary_that_holds_itself_is_refused(tmp_path) -> None:
    saved: dict[str, Any] = {"w": 1}
    saved["model"] = saved
    torch.save(saved, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="is not a state dict"):
        TORCH.read(tmp_path / "a.pt")


class Hostile:
    """Creates a file when it is unpickled by Python's own unpickler."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def as_torch_zip(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def as_old_torch(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize("write", [as_torch_zip, as_old_torch, pickle.dumps], ids=["zip", "old", "pickle"])
def test_a_hostile_pickle_is_refused_with_what_it_would_call_and_never_runs(write, tmp_path) -> None:
    trap = tmp_path / "trap"
    path = tmp_path / "step-1.pt"
    path.write_bytes(write({"model": {"w": torch.ones(2)}, "extra": Hostile(trap)}))
    recognize(path)
    for read in (TORCH.contents, TORCH.read):
        with pytest.raises(CheckpointError, match=r"step-1\.pt holds more than tensors \(.*mkdir\)") as caught:
            read(path)
        assert "weights_only" not in str(caught.value)
        assert "safe_globals" not in str(caught.value)
    assert not trap.exists()
    # The same bytes do run in the reader that is not used.
    with contextlib.suppress(RuntimeError):
        torch.load(path, weights_only=False)
    assert trap.exists()


def whole_module(path: Path) -> None:
    torch.save(nn.Linear(2, 2), path)


def scripted(path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(path))


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": [1, 2, 3]}))


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "text")


def garbage_after_magic(path: Path) -> None:
    path.write_bytes(b"\x80\x02" + b"\xfe" * 50)


def zip_magic_only(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + b"\0" * 50)


@pytest.mark.parametrize(
    "write", [whole_module, scripted, plain_pickle, other_zip, garbage_after_magic, zip_magic_only]
)
def test_what_the_safe_reader_refuses_is_one_sentence_without_advice_to_turn_it_off(write, tmp_path) -> None:
    path = tmp_path / "step-1.pt"
    write(path)
    for read in (TORCH.contents, TORCH.read):
        with pytest.raises(CheckpointError, match=r"step-1\.pt") as caught:
            read(path)
        message = str(caught.value)
        for word in ("weights_only", "safe_globals", "can still be loaded", "trust"):
            assert word not in message
        assert len(message.splitlines()) == 1


def test_tensors_without_values_or_not_dense_are_refused(tmp_path, weights) -> None:
    path, tensors, first = tmp_path / "weights.pt", weights(), "layer.weight"
    torch.save({name: tensor.to("meta") for name, tensor in tensors.items()}, path)
    with pytest.raises(CheckpointError, match=f"weights.pt holds {first} without values: it was saved from the meta"):
        TORCH.read(path)
    torch.save({**tensors, first: tensors[first].to_sparse()}, path)
    for read in (TORCH.read, TORCH.contents):
        with pytest.raises(CheckpointError, match=f"weights.pt holds {first} as a sparse or nested tensor: save it as"):
            read(path)


def test_a_flipped_byte_of_a_tensor_is_found(tmp_path, weights) -> None:
    path = tmp_path / "a.pt"
    torch.save({"w": torch.full((64,), 1.5)}, path)
    data = bytearray(path.read_bytes())
    at = bytes(data).index(torch.full((4,), 1.5).numpy().tobytes())
    data[at + 2] ^= 0x40
    path.write_bytes(bytes(data))
    assert torch.load(path)["w"].ne(1.5).any(), "torch itself does not notice"
    with pytest.raises(CheckpointError, match=r"a\.pt is damaged: the checksum of .*data/0 does not fit"):
        TORCH.read(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_is_cut_short_is_a_checkpoint_error(legacy, tmp_path, weights) -> None:
    torch.save(weights(1.0), tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    whole = (tmp_path / "a.pt").read_bytes()
    path = tmp_path / "b.pt"
    for length in [*range(1, 40), *range(40, len(whole) - 1, 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        for read in (TORCH.contents, TORCH.read):
            with pytest.raises(CheckpointError, match=r"b\.pt"):
                read(path)


def test_the_header_of_an_old_file_is_read_without_its_tensors(tmp_path, monkeypatch) -> None:
    shared = torch.arange(40.0)
    state = {"w": shared[:10], "v": shared[5:].reshape(5, 7), "h": torch.ones(3).half()}
    torch.save({"model": state, "optimizer": {"state": [shared]}, "epoch": 3}, tmp_path / "a.pt",
               _use_new_zipfile_serialization=False)  # fmt: skip
    reads: list[Any] = []
    load = torch.load
    monkeypatch.setattr(
        torch, "load", lambda *given, **more: reads.append(more["map_location"]) or load(*given, **more)
    )
    contents = TORCH.contents(tmp_path / "a.pt")
    assert reads == ["meta"]
    assert {name: (info.shape, info.dtype) for name, info in contents.tensors.items()} == {
        "w": ((10,), "float32"), "v": ((5, 7), "float32"), "h": ((3,), "float16")
    }  # fmt: skip
    assert (contents.step, contents.step_unit) == (3, "epoch")
    assert torch.equal(TORCH.read(tmp_path / "a.pt")["v"], state["v"])


def test_a_torchscript_program_is_called_one(tmp_path) -> None:
    scripted(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="is a TorchScript program, and reading it runs code: save model"):
        TORCH.contents(tmp_path / "a.pt")


def fuzzed(write: Callable[[Any], bytes]) -> bytes:
    return write({"model": {"layer.weight": torch.ones(2, 3)}, "step": 5})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=120)
@given(legacy=st.booleans(), at=st.integers(0, 3000), byte=st.integers(0, 255))
def test_any_changed_byte_gives_tensors_or_a_checkpoint_error(legacy, at, byte, tmp_path) -> None:
    data = bytearray(fuzzed(as_old_torch if legacy else as_torch_zip))
    data[at % len(data)] = byte
    path = tmp_path / "b.pt"
    path.write_bytes(bytes(data))
    for read in (TORCH.contents, TORCH.read):
        try:
            read(path)
        except CheckpointError as error:
            message = str(error)
        else:
            continue
        assert "b.pt" in message
        assert "weights_only" not in message


def test_reading_leaves_the_random_state_alone(tmp_path, save) -> None:
    before = torch.get_rng_state()
    TORCH.read(save(tmp_path / "a.pt"))
    assert torch.equal(before, torch.get_rng_state())
