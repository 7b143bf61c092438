"""Sets of files with an index, such as `model.safetensors.index.json`: which name lies in which file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from slicer_core.checkpoints.checkpoint import AS_IT_IS, CheckpointFormat, Contents, ReadOptions, TensorInfo
from slicer_core.checkpoints.safetensors_format import SAFETENSORS
from slicer_core.checkpoints.strict_json import read_object
from slicer_core.checkpoints.torch_format import TORCH
from slicer_core.checkpoints.weights import under_prefix
from slicer_core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

    from slicer_core.parameters import NamedTensors

T = TypeVar("T")

INDEX_SUFFIX = ".index.json"
_MAP = "weight_map"


def _recognizes(path: Path, first_bytes: bytes) -> bool:
    return path.name.endswith(INDEX_SUFFIX) and first_bytes.lstrip()[:1] == b"{"


def weight_map(path: Path) -> dict[str, str]:
    """Name of each tensor -> name of the file beside the index that holds it.

    Raises:
        CheckpointError: the index says no such thing, or names a file of another folder.
    """
    found = read_object(path).get(_MAP)
    if not isinstance(found, dict) or not found or not all(isinstance(file, str) for file in found.values()):
        raise CheckpointError(f"{path} is not an index of weights: expected {_MAP!r} with the file of each name")
    for file in set(found.values()):
        if Path(file).name != file or file in (".", "..") or "\0" in file:
            raise CheckpointError(f"{path} names {file[:200]!r}: expected a file beside the index")
    return found


def _files(path: Path) -> tuple[Path, ...]:
    return (path, *(path.parent / file for file in sorted(set(weight_map(path).values()))))


def _contents(path: Path, options: ReadOptions = AS_IT_IS) -> Contents:
    tensors: dict[str, TensorInfo] = {}
    for file, names in _shards(path, options).items():
        tensors |= _taken(_format(path, file).contents(file, _plain(options)).tensors, names, path, file)
    return Contents(tensors=tensors, weights=options.weights)


def _read(path: Path, options: ReadOptions = AS_IT_IS) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file, names in _shards(path, options).items():
        tensors |= _taken(_format(path, file).read(file, _plain(options)), names, path, file)
    return tensors


def _open(path: Path, options: ReadOptions = AS_IT_IS) -> NamedTensors:
    from slicer_core.parameters import LazyTensors, merged, rows_of, shapes_of

    parts = []
    for file, names in _shards(path, options).items():
        tensors = _format(path, file).open(file, _plain(options))
        like = _taken(shapes_of(tensors), names, path, file)
        if isinstance(tensors, LazyTensors):
            parts.append(LazyTensors(like, lambda name, a, b, of=tensors, names=names: rows_of(of, names[name], a, b)))
        else:
            parts.append(like)
    return merged(*parts)


def _plain(options: ReadOptions) -> ReadOptions:
    """For one file: the set of weights has been chosen among the names of all of them."""
    return ReadOptions(trusted=options.trusted)


def _shards(path: Path, options: ReadOptions) -> dict[Path, dict[str, str]]:
    """File -> name as it is chosen -> name in the file."""
    places = weight_map(path)
    chosen = {name: name for name in places} if options.weights is None else under_prefix(places, options.weights, path)
    shards: dict[Path, dict[str, str]] = {}
    for name, full in chosen.items():
        shards.setdefault(path.parent / places[full], {})[name] = full
    absent = sorted(file.name for file in shards if not file.is_file())
    if absent:
        raise CheckpointError(f"{path} names files that are not there: {', '.join(absent[:5])}")
    return shards


def _taken(tensors: Mapping[str, T], names: Mapping[str, str], path: Path, file: Path) -> dict[str, T]:
    absent = [full for full in names.values() if full not in tensors]
    if absent:
        raise CheckpointError(f"{path} says that {file.name} has {', '.join(absent[:5])[:300]}; it has not")
    return {name: tensors[full] for name, full in names.items()}


def _format(path: Path, file: Path) -> CheckpointFormat:
    try:
        with file.open("rb") as stream:
            first = stream.read(64)
    except OSError as error:
        raise CheckpointError(f"{file} can't be opened: {error.strerror or error}") from error
    for format_ in (SAFETENSORS, TORCH):
        if format_.recognizes(file, first):
            return format_
    raise CheckpointError(f"{file}, which {path.name} names, is neither a safetensors nor a torch file")


SHARDED = CheckpointFormat(
    name="sharded",
    suffixes=(".safetensors.index.json", ".bin.index.json"),
    recognizes=_recognizes,
    contents=_contents,
    read=_read,
    open=_open,
    files=_files,
)
