"""From what the user points at (folder, file or glob) to checkpoints in the order of their steps."""

from __future__ import annotations

import glob as globbing
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slicer_core.checkpoints.checkpoint import Checkpoint, CheckpointFormat, StepUnit
from slicer_core.checkpoints.safetensors_format import SAFETENSORS
from slicer_core.checkpoints.torch_format import TORCH
from slicer_core.errors import CheckpointError

FORMATS: tuple[CheckpointFormat, ...] = (SAFETENSORS, TORCH)

# Tried in this order; the first that finds exactly one number decides.
_NAME_PATTERNS: tuple[tuple[re.Pattern[str], StepUnit], ...] = (
    (re.compile(r"(?:global_?step|step|iter(?:ation)?|itr)[-_=]?(\d+)", re.IGNORECASE), "step"),
    (re.compile(r"epoch[-_=]?(\d+)", re.IGNORECASE), "epoch"),
    (re.compile(r"(?:checkpoint|ckpt|model|weights)[-_=](\d+)", re.IGNORECASE), "step"),
    (re.compile(r"^(\d+)$"), "step"),
)
# As whole words, so that a network called upscaler is not left out.
_OTHER_FILES = re.compile(
    r"(?<![a-z])(?:optim(?:izer)?s?|(?:lr_)?schedulers?|rng_states?|random_states?|training_args|(?:grad_)?scalers?)"
    r"(?![a-z])",
    re.IGNORECASE,
)
_BLANK = b"\xef\xbb\xbf \t\r\n"
_MESSAGES = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"<!doctype", "is a web page, not a checkpoint: download the file itself"),
    (b"<html", "is a web page, not a checkpoint: download the file itself"),
    (b"\x1f\x8b", "is compressed with gzip: unpack it first"),
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The checkpoints of one training, ascending by step, and the name under which their slices are logged."""

    name: str
    folder: Path
    checkpoints: tuple[Checkpoint, ...]
    failures: tuple[tuple[Path, CheckpointError], ...] = ()


def find_sources(given: Sequence[str]) -> list[Source]:
    """One source for each folder that `given` (folders, files or globs) leads to.

    A file that can't be read becomes a failure of its source, as long as another one can.

    Raises:
        CheckpointError: nothing is there, nothing is readable, or steps are unknown or there twice.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for entry in given:
        for path in _expand(entry):
            folder = path.parent.resolve()
            if folder / path.name not in {folder / known.name for known in by_folder[folder]}:
                by_folder[folder].append(path)
    for folder, paths in by_folder.items():
        by_folder[folder] = _without_links(paths)
    names = _source_names(list(by_folder))
    return [_source(names[folder], folder, paths) for folder, paths in by_folder.items()]


def open_checkpoint(path: Path) -> tuple[CheckpointFormat, int | None, StepUnit]:
    """The format of a file by its first bytes, and its step by its content, else by its name.

    Raises:
        CheckpointError: it can't be read, or is of no known format.
    """
    format_ = recognize(path)
    contents = format_.contents(path)
    if contents.step is not None:
        return format_, contents.step, contents.step_unit
    step, unit = step_from_name(path)
    return format_, step, unit


def recognize(path: Path) -> CheckpointFormat:
    """The format whose content the file's first bytes show.

    Raises:
        CheckpointError: it is empty, can't be opened, or is of no known format.
    """
    try:
        with path.open("rb") as file:
            first = file.read(64)
    except OSError as error:
        raise CheckpointError(f"{path} can't be opened: {error.strerror or error}") from error
    if not first:
        raise CheckpointError(f"{path} is empty")
    for start, message in _MESSAGES:
        if first.lower().lstrip(_BLANK).startswith(start):
            raise CheckpointError(f"{path} {message}")
    for format_ in FORMATS:
        if format_.recognizes(path, first):
            return format_
    raise CheckpointError(f"{path} is of no known format; read are {', '.join(known.name for known in FORMATS)}")


def step_from_name(path: Path) -> tuple[int | None, StepUnit]:
    """The number that known patterns find in the file's name, for example 500 in `checkpoint-500.pt`."""
    for pattern, unit in _NAME_PATTERNS:
        numbers = {int(number) for number in pattern.findall(path.stem)}
        if len(numbers) == 1:
            return numbers.pop(), unit
    return None, "step"


def _expand(entry: str) -> list[Path]:
    path = Path(entry).expanduser()
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if _may_be_checkpoint(file))
        if not found:
            raise CheckpointError(
                f"no checkpoint in {path}: expected files that end in "
                f"{', '.join(suffix for known in FORMATS for suffix in known.suffixes)}{_deeper(path)}"
            )
        return found
    if path.is_file():
        return [path]
    matches = sorted(Path(match) for match in globbing.glob(str(path), recursive=True))
    files = [file for match in matches for file in (_expand(str(match)) if match.is_dir() else [match])]
    if not files:
        raise CheckpointError(f"there is no file or folder {entry}: give a checkpoint folder, a file or a glob")
    return files


def _without_links(paths: Sequence[Path]) -> list[Path]:
    """Without the links, such as `latest.pt`, to files that are there themselves."""
    files = {path.resolve() for path in paths if not path.is_symlink()}
    return [path for path in paths if not (path.is_symlink() and path.resolve() in files)]


def _may_be_checkpoint(file: Path) -> bool:
    suffixes = {suffix for known in FORMATS for suffix in known.suffixes}
    return file.is_file() and file.suffix in suffixes and not _OTHER_FILES.search(file.name)


def _deeper(folder: Path) -> str:
    """A hint where the files lie one folder further down."""
    below = sorted({file.parent for file in folder.glob("*/*") if _may_be_checkpoint(file)})
    below += sorted({file.parent for file in folder.glob("*/checkpoints/*") if _may_be_checkpoint(file)})
    return f"; some are in {', '.join(map(str, below[:3]))}" if below else ""


def _source(name: str, folder: Path, paths: Sequence[Path]) -> Source:
    checkpoints: list[Checkpoint] = []
    failures: list[tuple[Path, CheckpointError]] = []
    unknown: list[Path] = []
    for path in paths:
        try:
            format_, step, unit = open_checkpoint(path)
        except CheckpointError as error:
            failures.append((path, error))
            continue
        if step is None:
            unknown.append(path)
        else:
            checkpoints.append(Checkpoint(path=path, step=step, step_unit=unit, format=format_))
    if unknown:
        raise CheckpointError(
            f"the step of {len(unknown)} of {len(paths)} checkpoints is unknown: {_listed(unknown)}. Put it into the "
            "name, as in step-500.safetensors, or save it as `step` in the file"
        )
    if not checkpoints:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise CheckpointError(f"{failures[0][1]}{more}")
    _check_steps(checkpoints)
    ordered = tuple(sorted(checkpoints, key=lambda checkpoint: checkpoint.step))
    return Source(name=name, folder=folder, checkpoints=ordered, failures=tuple(failures))


def _check_steps(checkpoints: Sequence[Checkpoint]) -> None:
    by_step: dict[int, list[Path]] = defaultdict(list)
    for checkpoint in checkpoints:
        by_step[checkpoint.step].append(checkpoint.path)
    twice = [f"{step}: {_listed(paths)}" for step, paths in sorted(by_step.items()) if len(paths) > 1]
    if twice:
        raise CheckpointError(f"steps are there twice; keep one of each. {'; '.join(twice)}")
    if len({checkpoint.step_unit for checkpoint in checkpoints}) > 1:
        raise CheckpointError(
            "some checkpoints count steps and others epochs: "
            + ", ".join(f"{checkpoint.path.name} ({checkpoint.step_unit})" for checkpoint in checkpoints[:6])
        )


def _listed(paths: Sequence[Path], shown: int = 5) -> str:
    rest = f" and {len(paths) - shown} more" if len(paths) > shown else ""
    return ", ".join(path.name for path in paths[:shown]) + rest


def _source_names(folders: Sequence[Path]) -> dict[Path, str]:
    """The folder's name, its parent's where it is called `checkpoints`; alike ones with more of their paths."""
    homes = {
        folder: folder.parent if folder.name == "checkpoints" and folder.parent.name else folder for folder in folders
    }
    shared = {home for home in homes.values() if list(homes.values()).count(home) > 1}
    homes = {folder: folder if home in shared else home for folder, home in homes.items()}
    depths = dict.fromkeys(folders, 1)
    while True:
        names = {folder: _last_parts(home, depths[folder]) for folder, home in homes.items()}
        alike = [folder for folder in folders if list(names.values()).count(names[folder]) > 1]
        growing = [folder for folder in alike if depths[folder] < len(homes[folder].parts)]
        if not growing:
            return names
        for folder in growing:
            depths[folder] += 1


def _last_parts(folder: Path, count: int) -> str:
    return "/".join(folder.parts[-count:]).lstrip("/") or "checkpoints"
