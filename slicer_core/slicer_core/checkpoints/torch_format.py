"""Files of `torch.save`: a state dict, bare or under a key. `weights_only=True` reads them and runs nothing."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from slicer_core.checkpoints.checkpoint import (
    AS_IT_IS,
    MAX_STEP_DIGITS,
    CheckpointFormat,
    Contents,
    ReadOptions,
    StepUnit,
    TensorInfo,
)
from slicer_core.checkpoints.old_torch import bytes_missing
from slicer_core.checkpoints.shortage import memory_for
from slicer_core.checkpoints.torch_refusal import reason, refusal
from slicer_core.checkpoints.weights import TOP, extra_states, find_weights
from slicer_core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
# Real files of tensors are not compressed; a small one that unpacks to more than this many times its size is a trap.
_MAX_EXPANSION = 1000
STEP_KEYS: tuple[tuple[str, StepUnit], ...] = (
    ("global_step", "step"),
    ("step", "step"),
    ("iter_num", "step"),
    ("iteration", "step"),
    ("epoch", "epoch"),
)


def _recognizes(path: Path, first_bytes: bytes) -> bool:
    return first_bytes.startswith((_ZIP, _PICKLE))


def _contents(path: Path, options: ReadOptions = AS_IT_IS) -> Contents:
    loaded = load_torch(path, options, map_location="meta")
    key, state = _state_dict(loaded, path, options)
    tensors = {
        name: TensorInfo(
            shape=tuple(tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),
            num_bytes=tensor.numel() * tensor.element_size(),
        )
        for name, tensor in state.items()
    }
    step, unit = stated_step(loaded) if isinstance(loaded, Mapping) else (None, "step")
    return Contents(
        tensors=tensors,
        step=step,
        step_unit=unit,
        weights=None if key == TOP else key,
        extra=_extra(loaded, key, path, options),
    )


def _extra(loaded: Any, key: str, path: Path, options: ReadOptions) -> dict[str, Any]:
    """What modules have saved beside their tensors; where tensors are in it, with their values."""
    from torch import Tensor
    from torch.utils import _pytree

    found = {name: value for name, value in extra_states(loaded, key).items() if not isinstance(value, Tensor)}
    if any(isinstance(leaf, Tensor) for leaf in _pytree.tree_leaves(found)):
        whole = extra_states(load_torch(path, options), key)
        found = {name: whole[name] for name in found}
    return found


def _read(path: Path, options: ReadOptions = AS_IT_IS) -> dict[str, Tensor]:
    state = _state_dict(load_torch(path, options), path, options)[1]
    for name, tensor in state.items():
        if tensor.is_meta:
            raise CheckpointError(f"{path} holds {name} without values: it was saved from the meta device")
    return state


def load_torch(path: Path, options: ReadOptions = AS_IT_IS, *, map_location: str = "cpu") -> Any:
    """What `torch.save` saved, with its tensors on the CPU, or without their values on the meta device.

    Raises:
        CheckpointError: it is damaged, does not fit the memory, or holds what only code could make again.
    """
    import torch

    whole = map_location != "meta"
    size, is_zip = _unpacked_size(path)
    try:
        with (
            memory_for(path, size if whole else 0),
            _plain_values(),
            # An old file has its tensors after its pickle: they are passed over. In a zip file meta tensors do that.
            contextlib.nullcontext() if whole or is_zip else torch.serialization.skip_data(),
            warnings.catch_warnings(),
        ):
            if whole:
                with path.open("rb") as file:
                    check_sums(file, path)
            # Torch's remarks on the file's pickle are about how it was written.
            warnings.simplefilter("ignore")
            # Never mapped: a file that is cut short while it is mapped kills the process.
            loaded = torch.load(path, map_location=map_location, weights_only=not options.trusted, mmap=False)
            missing = 0 if whole or is_zip else bytes_missing(path, loaded)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        with _plain_values():
            raise CheckpointError(refusal(path, error)) from error
    except Exception as error:
        # From torch 2.14 on, the indices of sparse tensors are looked at, which those without values don't have.
        if not whole and isinstance(error, NotImplementedError):
            return load_torch(path, options)
        raise CheckpointError(f"{path} can't be read as a torch file: {reason(error)}") from error
    if missing:
        # It is cut short, or has a storage within another one, which was counted twice: reading all of it tells.
        load_torch(path, options)
    return loaded


@contextlib.contextmanager
def _plain_values() -> Iterator[None]:
    """Lets torch's safe reader make the classes that trainers put beside weights and that only hold values."""
    import numpy
    import torch
    from numpy._core import multiarray

    scalar: Any = multiarray.scalar
    dtypes = [type(numpy.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "u1", "?")]
    paths = [(pathlib.PosixPath, f"{module}.PosixPath") for module in ("pathlib", "pathlib._local")]
    scalars = [(scalar, f"numpy.{module}.multiarray.scalar") for module in ("core", "_core")]
    with torch.serialization.safe_globals([argparse.Namespace, numpy.dtype, *dtypes, *scalars, *paths]):
        yield


def _unpacked_size(path: Path) -> tuple[int, bool]:
    """The bytes of the file, unpacked where it is a zip file, whose directory is checked; and whether it is one."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if not _begins_as_zip(file):
                return size, False
        if not zipfile.is_zipfile(path):
            raise CheckpointError(f"{path} is cut short: it is a zip file without its directory, which is at the end")
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            packed = sum(entry.file_size for entry in archive.infolist() if entry.compress_type)
            parts = {entry.filename.partition("/")[2] for entry in archive.infolist()}
        if "constants.pkl" in parts and any(part.startswith("code/") for part in parts):
            raise CheckpointError(
                f"{path} is a TorchScript program, and reading it runs code: save model.state_dict() with torch.save "
                "or safetensors"
            )
        if packed > _MAX_EXPANSION * size:
            raise CheckpointError(f"{path} is not read: its {size} bytes unpack to {packed}")
    except CheckpointError:
        raise
    except Exception as error:
        # A damaged directory of the archive may end in any exception of its reader.
        raise CheckpointError(f"{path} is damaged: {error}") from error
    return unpacked, True


def check_sums(file: IO[bytes], path: Path) -> None:
    """Compares the checksums of a zip file, which is in `path`: one with a flipped byte loads without an error.

    Raises:
        CheckpointError: one of them does not fit.
    """
    try:
        if not _begins_as_zip(file):
            return
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
    except MemoryError:
        raise
    except Exception as error:
        # As above.
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if broken is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of {broken} does not fit")


def _begins_as_zip(file: IO[bytes]) -> bool:
    """Whether it is a zip file, rather than a pickle, as files before torch 1.6 are."""
    first = file.read(len(_ZIP))
    file.seek(0)
    return first == _ZIP


def _state_dict(loaded: Any, path: Path, options: ReadOptions) -> tuple[str, dict[str, Tensor]]:
    import torch
    from torch import Tensor

    tree = _without_modules(loaded) if options.trusted else loaded
    if not isinstance(tree, Mapping):
        raise CheckpointError(f"{path} holds a {type(tree).__name__}, expected a state dict")
    key, state = find_weights(tree, lambda value: isinstance(value, Tensor), path, options.weights)
    for name, tensor in state.items():
        if tensor.is_nested or tensor.layout != torch.strided:
            raise CheckpointError(f"{path} holds {name} as a sparse or nested tensor: save it as a dense one")
    return key, state


def _without_modules(loaded: Any) -> Any:
    """Whole modules, which only a trusted file can hold, as their state."""
    from torch import nn

    if isinstance(loaded, nn.Module):
        return loaded.state_dict()
    if isinstance(loaded, Mapping):
        return {key: value.state_dict() if isinstance(value, nn.Module) else value for key, value in loaded.items()}
    return loaded


def stated_step(loaded: Mapping[Any, Any]) -> tuple[int | None, StepUnit]:
    """The step under one of the usual keys, a whole number from 0 up; else None."""
    for key, unit in STEP_KEYS:
        value = loaded.get(key)
        # Numpy's whole numbers are some too.
        step = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else -1
        if 0 <= step < 10**MAX_STEP_DIGITS:
            return step, unit
    return None, "step"


TORCH = CheckpointFormat(
    name="torch",
    suffixes=(".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ".pt.tar"),
    recognizes=_recognizes,
    contents=_contents,
    read=_read,
    # Such a file may be compressed or an old pickle, so that its tensors come all at once.
    open=_read,
)
