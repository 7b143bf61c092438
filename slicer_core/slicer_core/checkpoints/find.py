"""From what the user points at (folder, file or glob) to checkpoints in the order of their steps."""

from __future__ import annotations

import glob as globbing
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slicer_core.checkpoints.checkpoint import AS_IT_IS, Checkpoint, ReadOptions, stamps_of
from slicer_core.checkpoints.duplicates import without_duplicates
from slicer_core.checkpoints.formats import FORMATS, recognize
from slicer_core.checkpoints.layouts import (
    TRAINER_STATE,
    has_weights,
    is_checkpoint_folder,
    is_shard,
    locate,
    names_in,
    weights_stem,
)
from slicer_core.checkpoints.source_names import source_names
from slicer_core.checkpoints.steps import NO_MAP, StepMap, step_from_name, step_of
from slicer_core.errors import CheckpointError

# As whole words, so that a network called upscaler is not left out.
_OTHER_FILES = re.compile(
    r"(?<![a-z])(?:optim(?:izer)?s?|(?:lr_)?schedulers?|rng_states?|random_states?|training_args|(?:grad_)?scalers?"
    r"|samplers?|dl_state_dict|custom_checkpoint)(?![a-z])",
    re.IGNORECASE,
)
_SUFFIXES = tuple(suffix for known in FORMATS for suffix in known.suffixes)
# As Hugging Face's Trainer and accelerate name the folder of each saving.
_SAVING = re.compile(r"checkpoint[-_]\d+")


@dataclass(frozen=True, kw_only=True)
class Source:
    """The checkpoints of one training, ascending by step, and the name under which their slices are logged.

    `same` has the files left out because another one, their value, has the same weights.
    """

    name: str
    folder: Path
    checkpoints: tuple[Checkpoint, ...]
    failures: tuple[tuple[Path, CheckpointError], ...] = ()
    same: Mapping[Path, Path] = field(default_factory=dict)


def find_sources(given: Sequence[str], options: ReadOptions = AS_IT_IS, step_map: StepMap = NO_MAP) -> list[Source]:
    """One source for each folder that `given` (folders, files or globs) leads to.

    A checkpoint that can't be read becomes a failure of its source, as long as another one can.

    Raises:
        CheckpointError: nothing is there, nothing is readable, or steps are unknown or there twice.
        UsageError: the step map is about what is not there.
    """
    by_folder: dict[Path, dict[Path, Path]] = defaultdict(dict)
    for entry in given:
        for home, path in _expand(entry):
            folder = home.resolve()
            by_folder[folder].setdefault(path.parent.resolve() / path.name, path)
    for folder, paths in by_folder.items():
        by_folder[folder] = _without_links(paths)
    step_map.check_used([path for paths in by_folder.values() for path in paths])
    names = source_names(list(by_folder))
    return [
        _source(names[folder], folder, list(paths.values()), options, step_map) for folder, paths in by_folder.items()
    ]


def open_checkpoint(path: Path, options: ReadOptions = AS_IT_IS, step_map: StepMap = NO_MAP) -> tuple[Checkpoint, bool]:
    """The checkpoint that a file or folder is, and whether its step is known; it is 0 where nothing tells it.

    Raises:
        CheckpointError: it can't be read, or is of no known format.
    """
    place = locate(path, options)
    format_ = recognize(place.data)
    # Before it is looked into, so that a change from then on is noticed.
    stamps = stamps_of(format_.files(place.data))
    step, unit = step_of(place, format_.contents(place.data, place.options), step_map)
    checkpoint = Checkpoint(
        path=place.path,
        data=place.data,
        step=step or 0,
        step_unit=unit,
        format=format_,
        options=place.options,
        adapter=place.adapter,
        stamps=stamps,
    )
    return checkpoint, step is not None


def _expand(entry: str) -> list[tuple[Path, Path]]:
    """(folder of the source, checkpoint) for all that an entry leads to."""
    if not entry:
        # As a path it would be the folder that the command runs in.
        raise CheckpointError("an empty path leads to no checkpoint: give a checkpoint folder, a file or a glob")
    path = Path(os.path.expanduser(entry))
    if path.is_dir():
        found = _in_folder(path)
        if not found:
            raise CheckpointError(
                f"no checkpoint in {path}: expected files that end in {', '.join(_SUFFIXES)}, or folders of such"
                f"{_deeper(path)}"
            )
        return found
    if path.is_file():
        return [_as_folder(path)]
    if path.exists():
        raise CheckpointError(f"{path} is neither a file nor a folder, such as a pipe: give a file, a folder or a glob")
    there = map(Path, globbing.glob(str(path), recursive=True))
    matches = sorted(match for match in there if match.is_dir() or match.is_file() or _is_lost(match))
    found = [each for match in matches for each in (_expand(str(match)) if match.is_dir() else [_as_folder(match)])]
    if not found:
        raise CheckpointError(f"there is no file or folder {entry}: give a checkpoint folder, a file or a glob")
    return found


def _in_folder(folder: Path) -> list[tuple[Path, Path]]:
    """The checkpoints that lie in a folder, or the one that it is as a whole."""
    own = [file for file in sorted(folder.iterdir()) if file.is_file() and weights_stem(file.name)]
    if not own and (is_checkpoint_folder(folder) or _lacks_weights(folder)):
        return [_whole(folder)]
    inside = [child for child in sorted(folder.iterdir()) if _may_be_checkpoint(child) and child not in own]
    if own:
        # What trainers leave beside weights may be in a format that is not read, or be the files of their index.
        inside = [child for child in inside if (_is_ours(child) if child.is_dir() else not is_shard(child.name))]
        if not inside:
            return [_whole(folder)]
    return [(folder, child) for child in sorted([*own, *inside])]


def _whole(folder: Path) -> tuple[Path, Path]:
    """A folder that is one checkpoint: one of its parent's where it is numbered, else a source of its own."""
    folder = folder if folder.name else folder.resolve()
    numbered = step_from_name(folder)[0] is not None or (folder / TRAINER_STATE).is_file()
    return (folder.parent if numbered else folder), folder


def _as_folder(file: Path) -> tuple[Path, Path]:
    """A file that is the only model of a numbered checkpoint folder stands for the folder."""
    parent = file.parent.resolve()
    if weights_stem(file.name) and step_from_name(parent)[0] is not None and _in_folder(parent) == [_whole(parent)]:
        try:
            if locate(parent, AS_IT_IS).data == parent / file.name:
                return _whole(file.parent)
        except CheckpointError:
            pass
    return file.parent, file


def _without_links(paths: Mapping[Path, Path]) -> dict[Path, Path]:
    """Without the links, such as `latest.pt`, to what is there itself."""
    # `Path.resolve` raises where links lead to one another.
    there = {os.path.realpath(path) for path in paths.values() if not path.is_symlink()}
    return {key: path for key, path in paths.items() if not (path.is_symlink() and os.path.realpath(path) in there)}


def _may_be_checkpoint(path: Path) -> bool:
    if _OTHER_FILES.search(path.name):
        return False
    if path.is_dir():
        try:
            return is_checkpoint_folder(path) or _lacks_weights(path)
        except CheckpointError:
            return False
    return _is_lost(path) or (path.is_file() and path.name.endswith(_SUFFIXES))


def _is_ours(folder: Path) -> bool:
    """Whether it is a checkpoint of a format that is read, or what is there of one."""
    return has_weights(folder) or _lacks_weights(folder)


def _lacks_weights(folder: Path) -> bool:
    """Whether it is the folder of one saving, of which the weights were not written or are gone."""
    names = names_in(folder)
    others = {name for name in names if name == TRAINER_STATE or _OTHER_FILES.search(name)}
    rest = names - others
    if step_from_name(folder)[0] is None or any(name.endswith(_SUFFIXES) for name in rest):
        return False
    below = [folder / name for name in rest if (folder / name).is_dir()]
    if below:
        # What is meant may lie further down. The Trainer has shards of DeepSpeed there, which are not read.
        return TRAINER_STATE in names and not any(map(has_weights, below))
    return bool(others) or not names or _SAVING.fullmatch(folder.name) is not None


def _is_lost(path: Path) -> bool:
    """Whether it is a link by the name of a checkpoint, file or folder, that leads to nothing."""
    if not path.is_symlink() or path.exists():
        return False
    return path.name.endswith(_SUFFIXES) or (not path.suffix and step_from_name(path)[0] is not None)


def _deeper(folder: Path) -> str:
    """A hint where the files lie one folder further down."""
    below = sorted({file.parent for file in folder.glob("*/*") if _may_be_checkpoint(file)})
    below += sorted({file.parent for file in folder.glob("*/checkpoints/*") if _may_be_checkpoint(file)})
    return f"; some are in {', '.join(map(str, below[:3]))}" if below else ""


def _source(name: str, folder: Path, paths: Sequence[Path], options: ReadOptions, step_map: StepMap) -> Source:
    known: list[Checkpoint] = []
    unknown: list[Checkpoint] = []
    failures: list[tuple[Path, CheckpointError]] = []
    for path in paths:
        try:
            checkpoint, has_step = open_checkpoint(path, options, step_map)
        except CheckpointError as error:
            failures.append((path, error))
        else:
            (known if has_step else unknown).append(checkpoint)
    if not known and not unknown:
        more = f" (and {len(failures) - 1} more can't be read)" if len(failures) > 1 else ""
        raise CheckpointError(f"{failures[0][1]}{more}")
    kept, same = without_duplicates(known, unknown)
    _check_units(kept)
    return Source(name=name, folder=folder, checkpoints=tuple(kept), failures=tuple(failures), same=same)


def _check_units(checkpoints: Sequence[Checkpoint]) -> None:
    if len({checkpoint.step_unit for checkpoint in checkpoints}) > 1:
        raise CheckpointError(
            "some checkpoints count steps and others epochs: "
            + ", ".join(f"{checkpoint.path.name} ({checkpoint.step_unit})" for checkpoint in checkpoints[:6])
            + ". Say with --step-map which steps they are of, or leave some out"
        )
