"""The `.metadata` of a torch.distributed.checkpoint folder: a pickle, read with a list of what it may hold."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from slicer_core.checkpoints.shortage import memory_for
from slicer_core.errors import CheckpointError

if TYPE_CHECKING:
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata

_MAX_BYTES = 500_000_000
# One for each process is usual. Each is compared with all others.
_MAX_CHUNKS = 50_000
_CHECKPOINT = "torch.distributed.checkpoint"
# All that torch writes there. None of them does anything but hold values.
_ALLOWED = {
    *((f"{_CHECKPOINT}.metadata", name) for name in (
        "Metadata", "MetadataIndex", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata",
        "TensorProperties", "StorageMeta", "_MEM_FORMAT_ENCODING",
    )),
    (f"{_CHECKPOINT}.filesystem", "_StorageInfo"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("collections", "OrderedDict"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib._local", "PosixPath"),
}  # fmt: skip


def read_metadata(path: Path) -> Metadata:
    """The metadata, of whose classes none runs anything.

    Raises:
        CheckpointError: it can't be read, holds something else, or contradicts itself.
    """
    from torch.distributed.checkpoint.metadata import Metadata

    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{path} is too large for metadata: {path.stat().st_size} bytes")
        with memory_for(path, path.stat().st_size):
            data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}") from error
    try:
        with memory_for(path):
            found = _unpickler(path)(io.BytesIO(data)).load()
    except CheckpointError:
        raise
    except Exception as error:
        # A damaged pickle may end in any exception of the classes above.
        line = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{path} is damaged: {line}") from error
    if not isinstance(found, Metadata):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, expected the metadata of a checkpoint")
    try:
        _check(found, path)
    except (AttributeError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged: {str(error)[:200]}") from error
    return found


def _unpickler(path: Path) -> Any:
    # Python's own unpickler rather than the faster one in C, whose table of memos a hostile file can make as large as
    # it likes.
    base: Any = pickle._Unpickler

    class AllowListUnpickler(base):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ("builtins", "getattr"):
                return partial(_member, path)
            if (module, name) in _ALLOWED or _is_dtype(module, name):
                return super().find_class(_present(module), name)
            raise CheckpointError(
                f"{path} is not read: it holds {f'{module}.{name}'[:100]}, which metadata of tensors has no need of, "
                "and making it may run code"
            )

        dispatch: ClassVar[dict[int, Any]] = {**base.dispatch, pickle.BUILD[0]: _build}

        def persistent_load(self, pid: object) -> Any:
            raise CheckpointError(f"{path} is not read: it refers to objects outside of itself")

    return AllowListUnpickler


def _build(unpickler: Any) -> None:
    """Sets attributes of an object that was made, and not of a class or function, which the program goes on to use."""
    if callable(unpickler.stack[-2]):
        raise CheckpointError(
            f"the metadata sets attributes of {str(unpickler.stack[-2])[:100]}, which metadata of tensors has no need "
            "of, and it may run code"
        )
    pickle._Unpickler.load_build(unpickler)  # type: ignore[attr-defined] - the unpickler in Python, as above


def _member(path: Path, owner: object, name: object) -> Any:
    """In place of `getattr`, by which Python 3.11.0 to 3.11.3 writes a member of an enumeration, and for that alone."""
    from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING

    if owner is not _MEM_FORMAT_ENCODING or not isinstance(name, str) or name not in _MEM_FORMAT_ENCODING.__members__:
        raise CheckpointError(
            f"{path} is not read: it asks for {str(name)[:100]} of {str(owner)[:100]}, which metadata of tensors has "
            "no need of, and making it may run code"
        )
    return _MEM_FORMAT_ENCODING[name]


def _present(module: str) -> str:
    return "pathlib" if module == "pathlib._local" else module


def _is_dtype(module: str, name: str) -> bool:
    import torch

    return module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)


def _check(metadata: Metadata, path: Path) -> None:
    """That each tensor is covered by its chunks, each of which has its bytes in a file of the folder."""
    import torch
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import BytesStorageMetadata, MetadataIndex, TensorStorageMetadata

    sizes: dict[str, int] = {}
    storage = metadata.storage_data
    if not isinstance(metadata.state_dict_metadata, dict) or not isinstance(storage, dict):
        raise CheckpointError(f"{path} does not say which tensors there are and where")
    for info in storage.values():
        file = info.relative_path
        if not isinstance(info, _StorageInfo) or not isinstance(file, str) or Path(file).name != file or file == "..":
            raise CheckpointError(f"{path} names {str(file)[:200]!r}: expected a file of its folder")
        if file not in sizes:
            shard = path.parent / file
            if not shard.is_file():
                raise CheckpointError(f"{path} names {file}, which is not there")
            sizes[file] = shard.stat().st_size
        if not (info.offset >= 0 and info.length >= 0 and info.offset + info.length <= sizes[file]):
            raise CheckpointError(f"{path.parent / file} is cut short: it has {sizes[file]} bytes")
    for name, entry in metadata.state_dict_metadata.items():
        if isinstance(entry, BytesStorageMetadata):
            continue
        if not isinstance(name, str) or not isinstance(entry, TensorStorageMetadata):
            raise CheckpointError(f"{path} has no tensor under {str(name)[:100]!r}")
        if not isinstance(entry.properties.dtype, torch.dtype) or any(size < 0 for size in entry.size):
            raise CheckpointError(f"{path} has no dtype or shape for {name[:100]}")
        if len(entry.chunks) > _MAX_CHUNKS:
            raise CheckpointError(f"{path} has {name[:100]} in more than {_MAX_CHUNKS} parts")
        covered = 0
        for chunk in entry.chunks:
            count = math.prod(chunk.sizes)
            inside = len(chunk.sizes) == len(chunk.offsets) == len(entry.size) and all(
                start >= 0 and size >= 0 and start + size <= whole
                for start, size, whole in zip(chunk.offsets, chunk.sizes, entry.size, strict=True)
            )
            info = storage.get(MetadataIndex(name, chunk.offsets))
            if not inside or info is None:
                raise CheckpointError(f"{path} has a part of {name[:100]} that lies nowhere")
            if not info.transform_descriptors and count * entry.properties.dtype.itemsize > info.length:
                raise CheckpointError(f"{path} has fewer bytes for {name[:100]} than its shape needs")
            covered += count
        if covered != math.prod(entry.size):
            raise CheckpointError(f"{path} is incomplete: parts of {name[:100]} are missing")
        if _overlap(entry.chunks):
            # With the right number of elements in all, another part would be left as the memory was.
            raise CheckpointError(f"{path} has parts of {name[:100]} that overlap")


def _overlap(chunks: Sequence[ChunkStorageMetadata]) -> bool:
    """Whether two of the boxes share an element."""
    if len(chunks) < 2:
        return False
    # Only here, so that a look at other files does not pay for it.
    import numpy as np

    starts = np.array([tuple(chunk.offsets) for chunk in chunks], dtype=np.int64)
    ends = starts + np.array([tuple(chunk.sizes) for chunk in chunks], dtype=np.int64)
    return any(
        bool(((starts[index] < ends[:index]) & (starts[:index] < ends[index])).all(axis=1).any())
        for index in range(1, len(chunks))
    )
