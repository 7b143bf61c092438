"""Folders of torch.distributed.checkpoint (FSDP, torchtitan): `.metadata` and shards, read without a process group."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from slicer_core.checkpoints.checkpoint import (
    AS_IT_IS,
    CheckpointFormat,
    Contents,
    ReadOptions,
    StepUnit,
    TensorInfo,
)
from slicer_core.checkpoints.distributed_metadata import read_metadata
from slicer_core.checkpoints.file_part import FilePart
from slicer_core.checkpoints.layouts import DISTRIBUTED_METADATA
from slicer_core.checkpoints.shortage import is_shortage, memory_for
from slicer_core.checkpoints.torch_format import STEP_KEYS, check_sums, load_torch, stated_step
from slicer_core.checkpoints.torch_refusal import named_global, reason
from slicer_core.checkpoints.weights import TOP, find_weights
from slicer_core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

# As Lightning writes it beside the shards of a strategy: all but the weights and the optimizers.
_LIGHTNING = "meta.pt"
# A saved number takes about a thousand, and the names of a group's parameters as many each as they have letters.
_MAX_ENTRY_BYTES = 1_000_000


def _recognizes(path: Path, first_bytes: bytes) -> bool:
    return (path / DISTRIBUTED_METADATA).is_file()


def _contents(path: Path, options: ReadOptions = AS_IT_IS) -> Contents:
    metadata = read_metadata(path / DISTRIBUTED_METADATA)
    key, names = _names(path, metadata, options)
    tensors = {}
    for name, full in names.items():
        saved = _saved(metadata, full)
        dtype = saved.properties.dtype
        tensors[name] = TensorInfo(
            shape=tuple(saved.size),
            dtype=str(dtype).removeprefix("torch."),
            num_bytes=_num_bytes(saved),
        )
    step, unit = _step(path, metadata)
    return Contents(tensors=tensors, step=step, step_unit=unit, weights=None if key == TOP else key)


def _read(path: Path, options: ReadOptions = AS_IT_IS) -> dict[str, Tensor]:
    metadata = read_metadata(path / DISTRIBUTED_METADATA)
    names = _names(path, metadata, options)[1]
    read = load_distributed(path, metadata, names.values())
    return {name: read[full] for name, full in names.items()}


def load_distributed(path: Path, metadata: Metadata, names: Iterable[str]) -> dict[str, Tensor]:
    """Tensors of the folder by the names that its metadata has, through torch's own reader.

    That reads a tensor with `weights_only=True`; other entries, which it does not, are never asked for.

    Raises:
        CheckpointError: a shard is damaged, or the tensors do not fit the memory.
    """
    import torch
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load

    class Reader(FileSystemReader):
        # Torch's own reads the metadata with a pickle that can run anything.
        def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
            return metadata

        def _slice_file(self, file: IO[bytes], sinfo: Any) -> IO[bytes]:
            if not sinfo.transform_descriptors:
                part = FilePart(file, sinfo.offset, sinfo.length)
                check_sums(io.BufferedReader(part), path / sinfo.relative_path)
            return super()._slice_file(file, sinfo)

    names = tuple(names)
    needed = sum(_num_bytes(_saved(metadata, name)) for name in names)
    try:
        with memory_for(path, needed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state: dict[str, Any] = {}
            for name in names:
                saved = _saved(metadata, name)
                state[name] = torch.empty(saved.size, dtype=saved.properties.dtype)
            load(state, storage_reader=Reader(path), no_dist=True)
    except CheckpointError:
        raise
    except (Exception, CheckpointException) as error:
        # Torch's has the exception of each process, and is no Exception itself.
        cause = next((failure[0] for failure in getattr(error, "failures", {}).values()), error)
        if isinstance(cause, CheckpointError):
            raise cause from error
        named = named_global(cause)
        if named is not None:
            raise CheckpointError(
                f"{path} holds more than tensors ({named}), and reading those runs code, so it is not read"
            ) from error
        if is_shortage(cause):
            raise CheckpointError(f"{path} can't be read: its tensors do not fit the memory") from error
        raise CheckpointError(f"{path} can't be read as a distributed checkpoint: {reason(cause)}") from error
    return state


def load_optimizer_tree(path: Path, keys: Sequence[str]) -> Mapping[Any, Any]:
    """The optimizer's state under one of `keys`: the tensors of `state`, and the groups with what is small in them.

    Raises:
        CheckpointError: there is none, or it can't be read.
    """
    metadata = read_metadata(path / DISTRIBUTED_METADATA)
    tree = distributed_tree(metadata)
    chosen = next((key for key in keys if isinstance(tree.get(key), Mapping)), None)
    states = tree[chosen].get("state") if chosen is not None else None
    if not isinstance(states, Mapping):
        return {}
    leaves = {
        (name, key): leaf.name
        for name, entry in states.items()
        if isinstance(entry, Mapping)
        for key, leaf in entry.items()
        if isinstance(leaf, _Leaf)
    }
    read = load_distributed(path, metadata, leaves.values())
    state: dict[Any, dict[Any, Tensor]] = {}
    for (name, key), full in leaves.items():
        state.setdefault(name, {})[key] = read[full]
    return {"state": state, "param_groups": _groups(path, metadata, chosen) or [{"params": list(state)}]}


def _groups(path: Path, metadata: Metadata, key: str | None) -> list[dict[Any, Any]]:
    """The optimizer's groups in their order, without settings that are tensors; none if one's members are unknown."""
    paths = metadata.planner_data if isinstance(metadata.planner_data, Mapping) else {}
    places = {
        name: parts[2:]
        for name, parts in paths.items()
        if isinstance(parts, tuple) and len(parts) == 4 and parts[:2] == (key, "param_groups") and type(parts[2]) is int
    }
    groups: dict[int, dict[Any, Any]] = {}
    for name, value in _entries(path, metadata, places).items():
        group, setting = places[name]
        # Numbers are text in the names of the state.
        groups.setdefault(group, {})[setting] = (
            [str(member) for member in value] if setting == "params" and isinstance(value, list) else value
        )
    found = [groups[group] for group in sorted(groups)]
    return found if all("params" in group for group in found) else []


def _saved(metadata: Metadata, name: str) -> TensorStorageMetadata:
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    saved = metadata.state_dict_metadata[name]
    assert isinstance(saved, TensorStorageMetadata)
    return saved


def _num_bytes(saved: TensorStorageMetadata) -> int:
    return saved.size.numel() * saved.properties.dtype.itemsize


def _names(path: Path, metadata: Metadata, options: ReadOptions) -> tuple[str, dict[str, str]]:
    """The key of the chosen set of weights, and its names -> the metadata's."""
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    tree = distributed_tree(metadata)
    key, chosen = find_weights(
        tree, lambda value: isinstance(value, _Leaf) and isinstance(value.saved, TensorStorageMetadata), path,
        options.weights,
    )  # fmt: skip
    return key, {name: leaf.name for name, leaf in chosen.items()}


class _Leaf:
    """A saved entry, under the metadata's name for it."""

    def __init__(self, name: str, saved: Any) -> None:
        self.name = name
        self.saved = saved

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.saved.size)


def distributed_tree(metadata: Metadata) -> dict[Any, Any]:
    """The nested mapping that was saved, with leaves in place of its values; entries that are no tensors are None."""
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    paths = metadata.planner_data if isinstance(metadata.planner_data, Mapping) else {}
    tree: dict[Any, Any] = {}
    for name, saved in metadata.state_dict_metadata.items():
        parts = paths.get(name)
        if not isinstance(parts, tuple) or not parts or not all(isinstance(part, (str, int)) for part in parts):
            parts = (name,)
        *owners, last = parts
        node = tree
        for owner in owners:
            below = node.setdefault(owner, {})
            node = below if isinstance(below, dict) else {}
        node[last] = _Leaf(name, saved) if isinstance(saved, TensorStorageMetadata) else None
    return tree


def _step(path: Path, metadata: Metadata) -> tuple[int | None, StepUnit]:
    """The step that was saved beside the weights: a small entry that is no tensor, or in Lightning's file."""
    step, unit = stated_step(_entries(path, metadata, (key for key, _ in STEP_KEYS)))
    file = path / _LIGHTNING
    if step is None and file.is_file():
        # It may hold settings of any class; what tells no step is nothing that is needed.
        with contextlib.suppress(CheckpointError):
            beside = load_torch(file, map_location="meta")
            return stated_step(beside) if isinstance(beside, Mapping) else (None, "step")
    return step, unit


def _entries(path: Path, metadata: Metadata, names: Iterable[str]) -> dict[str, Any]:
    """The small entries of these names that are no tensors, as far as they can be read."""
    import torch
    from torch.distributed.checkpoint.metadata import BytesStorageMetadata, MetadataIndex

    found: dict[str, Any] = {}
    for name in names:
        info, saved = metadata.storage_data.get(MetadataIndex(name)), metadata.state_dict_metadata.get(name)
        if info is None or info.transform_descriptors or info.length > _MAX_ENTRY_BYTES:
            continue
        if not isinstance(saved, BytesStorageMetadata):
            continue
        try:
            with memory_for(path), (path / info.relative_path).open("rb") as file:
                file.seek(info.offset)
                found[name] = torch.load(io.BytesIO(file.read(info.length)), weights_only=True)
        except Exception:  # noqa: BLE001 - an entry that holds more than numbers and names is none of those that are wanted
            continue
    return found


DISTRIBUTED = CheckpointFormat(
    name="distributed",
    suffixes=(),
    recognizes=_recognizes,
    contents=_contents,
    read=_read,
    open=_read,
    files=lambda path: (path / DISTRIBUTED_METADATA, *sorted(path.glob("*.distcp"))),
)
