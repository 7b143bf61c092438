"""Safetensors files: one JSON header, then the tensors' bytes. Nothing in them can run."""

from __future__ import annotations

import json
import math
import os
import struct
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer_core.checkpoints.checkpoint import (
    AS_IT_IS,
    MAX_STEP_DIGITS,
    CheckpointFormat,
    Contents,
    ReadOptions,
    StepUnit,
    TensorInfo,
)
from slicer_core.checkpoints.shortage import memory_for
from slicer_core.checkpoints.strict_json import parse_object
from slicer_core.checkpoints.weights import under_prefix
from slicer_core.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from slicer_core.parameters import LazyTensors, NamedTensors

_MAX_HEADER_BYTES = 100_000_000
_METADATA = "__metadata__"
_DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 1),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 1),
    "F8_E8M0": ("float8_e8m0fnu", 1),
    "C64": ("complex64", 8),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U64": ("uint64", 8),
    "U32": ("uint32", 4),
    "U16": ("uint16", 2),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
"""Dtypes by their words in a header: torch's name, and bytes of an entry."""
_STEP_KEYS: tuple[tuple[str, StepUnit], ...] = (("step", "step"), ("global_step", "step"), ("epoch", "epoch"))


def _recognizes(path: Path, first_bytes: bytes) -> bool:
    """Eight bytes of header length, then the header's opening brace."""
    return len(first_bytes) >= 9 and first_bytes[8:9] == b"{" and _header_length(first_bytes) <= _MAX_HEADER_BYTES


def _contents(path: Path, options: ReadOptions = AS_IT_IS) -> Contents:
    metadata, entries = _entries(path, options)
    tensors = {}
    for name, entry in entries.items():
        start, end = entry["data_offsets"]
        word = entry["dtype"]
        dtype = _DTYPES[word][0] if word in _DTYPES else word.lower()
        tensors[name] = TensorInfo(shape=tuple(entry["shape"]), dtype=dtype, num_bytes=end - start)
    step, unit = _step(metadata)
    return Contents(tensors=tensors, step=step, step_unit=unit, weights=options.weights)


def _read(path: Path, options: ReadOptions = AS_IT_IS) -> dict[str, Tensor]:
    tensors = open_safetensors(path, options)
    with memory_for(path, sum(like.nbytes for like in tensors.like.values())):
        return {name: tensors.rows(name, 0, like.shape[0] if like.ndim else 1) for name, like in tensors.like.items()}


def open_safetensors(path: Path, options: ReadOptions = AS_IT_IS) -> LazyTensors:
    """The tensors of a file, each read when it is asked for; the file stays open as long as they are referred to.

    Read, not mapped: a file that is cut short while it is mapped kills the process.

    Raises:
        CheckpointError: it is not a whole safetensors file, or, at a later reading, it has been cut short.
    """
    import torch

    from slicer_core.parameters import LazyTensors

    entries = _entries(path, options)[1]
    like = {
        name: torch.empty(entry["shape"], dtype=_dtype(path, name, entry), device="meta")
        for name, entry in entries.items()
    }
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error}") from error
    first = 8 + _header_length(os.pread(file, 8, 0))

    def rows(name: str, start: int, stop: int) -> Tensor:
        tensor = like[name]
        row = tensor.nbytes // max(1, tensor.shape[0]) if tensor.ndim else tensor.nbytes
        shape = (stop - start, *tensor.shape[1:]) if tensor.ndim else ()
        data = torch.empty((stop - start) * row, dtype=torch.uint8)
        place = first + entries[name]["data_offsets"][0] + start * row
        _fill(data.numpy(), file, place, path)
        return data.view(tensor.dtype).reshape(shape)

    tensors = LazyTensors(like, rows)
    weakref.finalize(rows, os.close, file)
    return tensors


def write_safetensors(path: Path, tensors: NamedTensors) -> None:
    """Writes a file of the tensors, block by block, so that a lazy vector need not fit the memory.

    Raises:
        CheckpointError: a dtype is not one that such files have.
    """
    import torch

    from slicer_core.parameters import row_blocks, rows_of, shapes_of

    words = {getattr(torch, name): word for word, (name, _) in _DTYPES.items() if hasattr(torch, name)}
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in shapes_of(tensors).items():
        start, end = end, end + tensor.nbytes
        if tensor.dtype not in words:
            raise CheckpointError(f"{name} is {tensor.dtype}, which a safetensors file can't hold")
        header[name] = {"dtype": words[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, tensor in shapes_of(tensors).items():
            for start, stop in row_blocks(tensor):
                rows = rows_of(tensors, name, start, stop).cpu().contiguous()
                file.write(rows.reshape(-1).view(torch.uint8).numpy().data)


def _fill(data: np.ndarray, file: int, place: int, path: Path) -> None:
    view, done = data.data, 0
    while done < len(view):
        try:
            count = os.preadv(file, [view[done:]], place + done)
        except OSError as error:
            raise CheckpointError(f"{path} can't be read: {error}") from error
        if count == 0:
            raise CheckpointError(f"{path} has been cut short while it was in use")
        done += count


def _dtype(path: Path, name: str, entry: dict[str, Any]) -> torch.dtype:
    import torch

    found = getattr(torch, _DTYPES.get(entry["dtype"], ("",))[0], None)
    if found is None:
        raise CheckpointError(f"{path} has {name} in {entry['dtype']}, which is no dtype of torch {torch.__version__}")
    return found


def _entries(path: Path, options: ReadOptions) -> tuple[dict[str, Any], dict[str, Any]]:
    """The file's metadata, and its tensors by the names that the chosen set of weights gives them."""
    header = _read_header(path)
    metadata = header.pop(_METADATA, {})
    if options.weights is None:
        return metadata, header
    return metadata, {name: header[full] for name, full in under_prefix(header, options.weights, path).items()}


def _read_header(path: Path) -> dict[str, Any]:
    try:
        with memory_for(path), path.open("rb") as file:
            length = _header_length(file.read(8))
            if length > _MAX_HEADER_BYTES:
                raise CheckpointError(f"{path} claims a safetensors header of {length} bytes")
            header = parse_object(file.read(length))
            size = path.stat().st_size - 8 - length
    except (OSError, struct.error, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error
    if not all(isinstance(entry, dict) for entry in header.values()):
        raise CheckpointError(f"{path} is not a safetensors file: its header is not an object of objects")
    entries = {name: entry for name, entry in header.items() if name != _METADATA}
    for name, entry in entries.items():
        if not _is_tensor_entry(entry):
            raise CheckpointError(
                f"{path} is not a safetensors file: the entry of {name[:100]!r} in its header needs a dtype, a shape "
                "and two data_offsets"
            )
    _check_places(path, entries, size)
    return header


def _check_places(path: Path, entries: dict[str, Any], size: int) -> None:
    """That the tensors lie one after the other, fill the file, and have the bytes that their shapes need."""
    end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    if end > size:
        raise CheckpointError(f"{path} is cut short: its tensors need {end} bytes, {max(size, 0)} are there")
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        if start != place:
            kind = "overlap" if start < place else "leave a hole"
            raise CheckpointError(f"{path} is not a whole safetensors file: its tensors {kind} before {name[:100]}")
        if entry["dtype"] in _DTYPES:
            needed = math.prod(entry["shape"]) * _DTYPES[entry["dtype"]][1]
            if stop - start != needed:
                raise CheckpointError(
                    f"{path} has {stop - start} bytes for {name[:100]}, whose shape and dtype need {needed}"
                )
        place = stop
    if place != size:
        raise CheckpointError(f"{path} is not a whole safetensors file: {size - place} bytes follow its tensors")


def _is_tensor_entry(entry: dict[str, Any]) -> bool:
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    return (
        isinstance(entry.get("dtype"), str)
        and isinstance(shape, list)
        and isinstance(offsets, list)
        and all(type(number) is int and number >= 0 for number in [*shape, *offsets])
        and len(offsets) == 2
        and offsets[0] <= offsets[1]
    )


def _header_length(first_bytes: bytes) -> int:
    return struct.unpack("<Q", first_bytes[:8])[0]


def _step(metadata: dict[str, Any]) -> tuple[int | None, StepUnit]:
    for key, unit in _STEP_KEYS:
        text = str(metadata.get(key, ""))
        if text.isdecimal() and len(text) <= MAX_STEP_DIGITS:
            return int(text), unit
    return None, "step"


SAFETENSORS = CheckpointFormat(
    name="safetensors",
    suffixes=(".safetensors",),
    recognizes=_recognizes,
    contents=_contents,
    read=_read,
    open=open_safetensors,
)
