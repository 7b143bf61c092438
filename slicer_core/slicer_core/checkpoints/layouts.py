"""What of a folder is the checkpoint: folders that Hugging Face's Trainer, PEFT, accelerate and others write."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicer_core.checkpoints.checkpoint import ReadOptions
from slicer_core.checkpoints.foreign import conversion
from slicer_core.checkpoints.strict_json import read_object
from slicer_core.errors import CheckpointError

TRAINER_STATE = "trainer_state.json"
DISTRIBUTED_METADATA = ".metadata"
_DISTRIBUTED_SUFFIX = ".distcp"
_ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER = "adapter_model"
# In the order in which transformers looks for them.
_ENDINGS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json")
_STEM = re.compile(r"((?:diffusion_)?(?:pytorch_)?model(?:_\d+)?|adapter_model|pytorch_model_fsdp(?:_\d+)?)")
_FSDP = "pytorch_model_fsdp"
_FSDP_FOLDER = re.compile(_FSDP + r"_\d+")
_SHARD = re.compile(r"-\d+-of-\d+\.\w+$")
# As accelerate writes them; they are only looked for, never opened.
_ACCELERATE_STATE = re.compile(r"random_states_\d+\.pkl")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A checkpoint that was found: what the user knows it by, and what of it is read; see `Checkpoint`."""

    path: Path
    data: Path
    options: ReadOptions
    is_counted: bool = False
    adapter: Mapping[str, Any] | None = None

    def trainer_state(self) -> Path | None:
        """The Trainer's file with the step, where it lies beside the weights."""
        state = self.data.parent / TRAINER_STATE
        known = self.data != self.path or weights_stem(self.data.name) is not None
        return state if known and state.is_file() else None


def names_in(folder: Path) -> frozenset[str]:
    """The names in a folder.

    Raises:
        CheckpointError: it can't be listed.
    """
    try:
        return frozenset(os.listdir(folder))
    except OSError as error:
        raise CheckpointError(f"{folder} can't be read: {error.strerror or error}") from error


def weights_stem(name: str) -> str | None:
    """`model` of `model.safetensors` and the like: names that libraries give to the weights in a folder."""
    for ending in _ENDINGS:
        if name.endswith(ending) and _STEM.fullmatch(name.removesuffix(ending)):
            return name.removesuffix(ending)
    return None


def is_shard(name: str) -> bool:
    """Whether it is one file of several, as in `model-00001-of-00003.safetensors`."""
    return _SHARD.search(name) is not None


def is_checkpoint_folder(folder: Path) -> bool:
    """Whether the folder as a whole is one checkpoint, also one of a format that is not read."""
    names = names_in(folder)
    return _has_weights(folder, names) or conversion(folder, names) is not None


def has_weights(folder: Path) -> bool:
    """Whether the folder as a whole is one checkpoint of a format that is read, or what is there of one."""
    return _has_weights(folder, names_in(folder))


def locate(path: Path, options: ReadOptions) -> Place:
    """What of a file or folder is read.

    Raises:
        CheckpointError: a folder is incomplete, has several models, or is of a format that is not read.
    """
    if not path.is_dir():
        if is_shard(path.name):
            raise CheckpointError(
                f"{path} is one of several files of a checkpoint: give the index beside it, whose name ends in "
                ".index.json, or their folder"
            )
        return Place(path=path, data=path, options=options, adapter=_adapter(path))
    names = names_in(path)
    if DISTRIBUTED_METADATA in names:
        return Place(path=path, data=path, options=options)
    found = _weights_in(path, names)
    if not found:
        raise CheckpointError(_not_read(path, names))
    if len(found) > 1:
        if options.weights not in found:
            raise CheckpointError(
                f"{path} holds several models, and which one is meant is not guessed: {', '.join(found)}. Give "
                "--weights KEY with one of these names"
            )
        data, options = found[str(options.weights)], ReadOptions(trusted=options.trusted)
    else:
        (data,) = found.values()
    return Place(
        path=path,
        data=data,
        options=options,
        is_counted=any(map(_ACCELERATE_STATE.fullmatch, names)),
        adapter=_adapter(data),
    )


def _weights_in(folder: Path, names: frozenset[str]) -> dict[str, Path]:
    """Stem -> file, index or folder of each model's weights."""
    found: dict[str, Path] = {}
    for ending in _ENDINGS:
        for name in sorted(names):
            stem = weights_stem(name)
            if stem is not None and name == stem + ending and not stem.startswith(_FSDP):
                # The same weights may be there in two formats, and pytorch_model is model by its older name.
                found.setdefault(stem.removeprefix("pytorch_"), folder / name)
    if not found:
        # Beside others, as the Trainer has it, it is the same weights once more.
        found = {Path(name).stem: folder / name for name in sorted(names) if _is_whole_of_fsdp(name)}
    for name in sorted(names):
        if _FSDP_FOLDER.fullmatch(name) and (folder / name / DISTRIBUTED_METADATA).is_file():
            found.setdefault(name, folder / name)
    return found


def _is_whole_of_fsdp(name: str) -> bool:
    return (weights_stem(name) or "").startswith(_FSDP)


def _has_weights(folder: Path, names: frozenset[str]) -> bool:
    there = bool(_weights_in(folder, names)) or DISTRIBUTED_METADATA in names
    return there or _incomplete(folder, names) is not None


def _incomplete(folder: Path, names: frozenset[str]) -> str | None:
    """What is there of a checkpoint without the file that is written last, and is missing; None where nothing is."""
    if any(name.endswith(_DISTRIBUTED_SUFFIX) for name in names):
        return f"it has shards of torch.distributed.checkpoint, but no {DISTRIBUTED_METADATA}"
    parts = sorted(name for name in names if _is_part_of_weights(name))
    if parts:
        return f"it has {len(parts)} of the files of its weights, such as {parts[0]}, but no .index.json of them"
    for name in sorted(names):
        if _FSDP_FOLDER.fullmatch(name) and (folder / name).is_dir():
            return f"its {name} has no {DISTRIBUTED_METADATA}"
    return None


def _is_part_of_weights(name: str) -> bool:
    found = _SHARD.search(name)
    return found is not None and weights_stem(name[: found.start()] + Path(name).suffix) is not None


def _not_read(folder: Path, names: frozenset[str]) -> str:
    incomplete = _incomplete(folder, names)
    if incomplete is not None:
        return (
            f"{folder} is incomplete: {incomplete}, which is written last. The saving or a copy was interrupted; copy "
            "it again, or take an earlier checkpoint"
        )
    converted = conversion(folder, names) or next(filter(None, map(_conversion_below, _folders(folder, names))), None)
    if converted is not None:
        return converted
    there = f"only {', '.join(sorted(names)[:5])}{' and more' if len(names) > 5 else ''}" if names else "nothing"
    return (
        f"{folder} holds no weights: expected model.safetensors or the like, there is {there}. The saving or a copy "
        "was interrupted, or the weights were deleted; copy it again, or delete the folder"
    )


def _folders(folder: Path, names: frozenset[str]) -> list[Path]:
    return [folder / name for name in sorted(names) if (folder / name).is_dir()]


def _conversion_below(folder: Path) -> str | None:
    return conversion(folder, names_in(folder))


def _adapter(data: Path) -> dict[str, Any] | None:
    """The configuration beside an adapter's weights; an empty one where there is none."""
    if weights_stem(data.name) != _ADAPTER:
        return None
    config = data.parent / _ADAPTER_CONFIG
    return read_object(config) if config.is_file() else {}
