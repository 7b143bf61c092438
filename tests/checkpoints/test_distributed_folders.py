"""Folders that torch.distributed.checkpoint writes, and hostile ones."""

from __future__ import annotations

import os
import pickle
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING, ChunkStorageMetadata, Metadata, MetadataIndex
from torch.distributed.checkpoint.state_dict import get_state_dict

from slicer_core.checkpoints import ReadOptions, find_sources, open_checkpoint
from slicer_core.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")

WEIGHTS = {
    "layer.weight": torch.arange(6.0).reshape(2, 3),
    "layer.bias": torch.ones(3).bfloat16(),
    "scale": torch.tensor(2.0).double(),
    "count": torch.arange(3),
}


def save(folder: Path, state: dict[str, Any]) -> Path:
    dcp.save(state, checkpoint_id=folder, no_dist=True)
    return folder


def assert_weights(read: dict[str, torch.Tensor]) -> None:
    assert set(read) == set(WEIGHTS)
    for name, tensor in WEIGHTS.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


@pytest.mark.parametrize("nested", [False, True])
def test_a_folder_is_read_whether_the_state_is_nested_or_not(nested, tmp_path) -> None:
    for step in (5, 10):
        save(tmp_path / "run" / f"step-{step}", {"model": WEIGHTS, "note": "x"} if nested else WEIGHTS)
    (source,) = find_sources([str(tmp_path / "run")])
    assert source.name == "run"
    assert [checkpoint.step for checkpoint in source.checkpoints] == [5, 10]
    checkpoint = source.checkpoints[0]
    assert checkpoint.format.name == "distributed"
    assert_weights(checkpoint.read())
    contents = checkpoint.contents()
    assert {name: info.shape for name, info in contents.tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in WEIGHTS.items()
    }
    assert contents.tensors["layer.bias"].dtype == "bfloat16"
    assert contents.weights == ("model" if nested else None)
    assert checkpoint.num_bytes() > sum(tensor.nbytes for tensor in WEIGHTS.values())
    assert checkpoint.fingerprint() == checkpoint.fingerprint() != source.checkpoints[1].fingerprint()


def test_a_training_state_with_its_optimizer_gives_the_models_weights(tmp_path) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state, optimizer_state = get_state_dict(model, optimizer)
    # As torchtitan has it: the model's names at the top.
    save(tmp_path / "step-1", {**state, "optimizer": optimizer_state, "train_state": {"step": 7}})
    checkpoint = open_checkpoint(tmp_path / "step-1")[0]
    read = checkpoint.read()
    assert set(read) == {"weight", "bias"}
    assert torch.equal(read["weight"], model.weight)


def test_a_step_that_was_saved_counts_more_than_the_name(tmp_path) -> None:
    folder = save(tmp_path / "step-1", {"model": WEIGHTS, "global_step": 70})
    assert open_checkpoint(folder)[0].step == 70


@pytest.mark.parametrize(
    ("beside", "step"),
    [
        ({"epoch": 2, "global_step": 70}, (70, "step")),
        ({"epoch": 2, "global_step": 70, "hyper_parameters": nn.Linear}, (1, "step")),
        ([70], (1, "step")),
        (None, (1, "step")),
    ],
)
def test_the_step_of_lightnings_shards_is_in_the_file_beside_them(beside: Any, step: Any, tmp_path: Path) -> None:
    folder = save(tmp_path / "step-1.ckpt", {"state_dict": WEIGHTS, "optimizer_0": {}})
    torch.save(beside, folder / "meta.pt")
    if beside is None:
        (folder / "meta.pt").write_bytes(b"")
    (source,) = find_sources([str(tmp_path)])
    (checkpoint,) = source.checkpoints
    assert (checkpoint.step, checkpoint.step_unit) == step
    assert_weights(checkpoint.read())


def test_raw_and_averaged_weights_are_not_guessed(tmp_path) -> None:
    folder = save(tmp_path / "step-1", {"model": WEIGHTS, "ema": {name: t + 1 for name, t in WEIGHTS.items()}})
    with pytest.raises(CheckpointError, match=r"model \(4 tensors\), ema \(4 tensors\)"):
        open_checkpoint(folder)
    read = open_checkpoint(folder, ReadOptions(weights="ema"))[0].read()
    assert torch.equal(read["layer.weight"], WEIGHTS["layer.weight"] + 1)


def test_without_its_metadata_a_folder_is_incomplete(tmp_path) -> None:
    folder = save(tmp_path / "step-1", WEIGHTS)
    (folder / ".metadata").unlink()
    for given in (folder, tmp_path):
        with pytest.raises(CheckpointError, match=r"is incomplete: .* but no \.metadata"):
            find_sources([str(given)])


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
def test_hostile_metadata_is_refused_with_what_it_would_call_and_never_runs(protocol, tmp_path) -> None:
    folder, trap = save(tmp_path / "step-1", WEIGHTS), tmp_path / "trap"
    (folder / ".metadata").write_bytes(pickle.dumps(Hostile(trap), protocol))
    with pytest.raises(CheckpointError, match=r"\.metadata is not read: it holds (posix|nt)\.mkdir"):
        open_checkpoint(folder)
    assert not trap.exists()
    # The same bytes do run in torch's own reader.
    with pytest.raises(AttributeError):
        dcp.FileSystemReader(folder).read_metadata()
    assert trap.exists()


class ByName(pickle.Pickler):
    """Writes members of enumerations as Python 3.11.0 to 3.11.3 does."""

    def reducer_override(self, value: Any) -> Any:
        return (getattr, (type(value), value.name)) if isinstance(value, Enum) else NotImplemented


def test_metadata_that_an_early_python_311_wrote_is_read(tmp_path) -> None:
    folder = save(tmp_path / "step-1", WEIGHTS)
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    with (folder / ".metadata").open("wb") as file:
        ByName(file).dump(metadata)
    assert b"getattr" in (folder / ".metadata").read_bytes()
    assert_weights(open_checkpoint(folder)[0].read())


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Path, "unlink"), (ChunkStorageMetadata, "__init__"), (_MEM_FORMAT_ENCODING, "__subclasses__")],
)
def test_metadata_gets_no_attribute_but_a_member(owner, name, tmp_path) -> None:
    class Asking:
        def __reduce__(self) -> tuple[Any, ...]:
            return getattr, (owner, name)

    folder = save(tmp_path / "step-1", WEIGHTS)
    (folder / ".metadata").write_bytes(pickle.dumps(Asking()))
    with pytest.raises(CheckpointError, match="may run code"):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", [b"torch.distributed.checkpoint.metadata\nMetadata", b"builtins\ngetattr"])
def test_metadata_changes_no_class_or_function(name, tmp_path) -> None:
    folder = save(tmp_path / "step-1", WEIGHTS)
    # A name, then a state of which the second part is set as attributes: {"hostile": None}.
    (folder / ".metadata").write_bytes(b"\x80\x02c" + name + b"\nN}X\x07\x00\x00\x00hostileNs\x86b.")
    with pytest.raises(CheckpointError, match="sets attributes of"):
        open_checkpoint(folder)
    assert not hasattr(Metadata, "hostile")


def test_a_hostile_shard_is_refused_and_never_runs(tmp_path) -> None:
    folder, trap = save(tmp_path / "step-1", {"w": torch.zeros(1000)}), tmp_path / "trap"
    (shard,) = folder.glob("*.distcp")
    size = shard.stat().st_size
    data = pickle.dumps(Hostile(trap), 2)
    shard.write_bytes(data + b"\0" * (size - len(data)))
    checkpoint = open_checkpoint(folder)[0]
    with pytest.raises(CheckpointError, match=r"step-1 .*mkdir|step-1 can't be read as a distributed checkpoint"):
        checkpoint.read()
    assert not trap.exists()


def test_a_flipped_byte_of_a_tensor_is_found(tmp_path) -> None:
    folder = save(tmp_path / "step-1", {"a": torch.zeros(1000), "b": torch.full((1000,), 2.5)})
    (shard,) = folder.glob("*.distcp")
    data = bytearray(shard.read_bytes())
    place = data.index(torch.full((100,), 2.5).numpy().tobytes())
    data[place + 100] ^= 1
    shard.write_bytes(data)
    checkpoint = open_checkpoint(folder)[0]
    with pytest.raises(CheckpointError, match=r"\.distcp is damaged: the checksum of .*data/0 does not fit"):
        checkpoint.read()


def test_a_tensor_in_very_many_parts_is_refused(tmp_path) -> None:
    def many(metadata: Any) -> None:
        metadata.state_dict_metadata["w"].chunks *= 60_000

    folder = rewritten(save(tmp_path / "step-1", {"w": torch.zeros(10)}), many)
    with pytest.raises(CheckpointError, match="has w in more than 50000 parts"):
        open_checkpoint(folder)


def rewritten(folder: Path, change: Any) -> Path:
    metadata = dcp.FileSystemReader(folder).read_metadata()
    change(metadata)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return folder


def place_elsewhere(metadata: Any) -> None:
    for info in metadata.storage_data.values():
        info.relative_path = "../secret.pt"


def name_the_parent(metadata: Any) -> None:
    for info in metadata.storage_data.values():
        info.relative_path = ".."


def name_another(metadata: Any) -> None:
    for info in metadata.storage_data.values():
        info.relative_path = "gone.distcp"


def claim_more(metadata: Any) -> None:
    entry = metadata.state_dict_metadata["layer.weight"]
    entry.size = entry.chunks[0].sizes = torch.Size([2**40, 3])


def grow(metadata: Any) -> None:
    metadata.state_dict_metadata["layer.weight"].size = torch.Size([4, 3])


def overlap(metadata: Any) -> None:
    """Two parts that have as many elements as the whole, but leave out the last column."""
    (info,) = [info for index, info in metadata.storage_data.items() if index.fqn == "layer.weight"]
    parts = [((0, 0), (2, 2)), ((0, 1), (2, 1))]
    metadata.state_dict_metadata["layer.weight"].chunks = [
        ChunkStorageMetadata(offsets=torch.Size(offsets), sizes=torch.Size(sizes)) for offsets, sizes in parts
    ]
    for offsets, _ in parts:
        metadata.storage_data[MetadataIndex("layer.weight", torch.Size(offsets))] = info


def shift(metadata: Any) -> None:
    for info in metadata.storage_data.values():
        info.offset += 10**9


def forget(metadata: Any) -> None:
    metadata.storage_data.clear()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (place_elsewhere, r"names '\.\./secret\.pt': expected a file of its folder"),
        (name_the_parent, r"names '\.\.'"),
        (name_another, r"names gone\.distcp, which is not there"),
        (claim_more, "fewer bytes for layer.weight than its shape needs"),
        (grow, "is incomplete: parts of layer.weight are missing"),
        (overlap, "has parts of layer.weight that overlap"),
        (shift, "is cut short"),
        (forget, "has a part of .* that lies nowhere"),
    ],
)
def test_metadata_that_contradicts_the_folder_is_refused(change, message, tmp_path) -> None:
    folder = rewritten(save(tmp_path / "step-1", WEIGHTS), change)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(folder)


def test_a_shard_that_is_cut_short_or_damaged_is_told(tmp_path) -> None:
    folder = save(tmp_path / "step-1", WEIGHTS)
    (shard,) = folder.glob("*.distcp")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match="is cut short"):
        open_checkpoint(folder)
    shard.write_bytes(b"\0" * len(whole))
    with pytest.raises(CheckpointError, match="can't be read as a distributed checkpoint"):
        open_checkpoint(folder)[0].read()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is damaged"), (b"\x80\x04", "is damaged"), (pickle.dumps({"a": 1}), "holds a dict"), (b"xx", "is damaged")],
)
def test_metadata_of_another_kind_is_told(content, message, tmp_path) -> None:
    folder = save(tmp_path / "step-1", WEIGHTS)
    (folder / ".metadata").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"\.metadata {message}"):
        open_checkpoint(folder)
