"""Which step a checkpoint is of: from the user's map, from inside, or from known patterns of its name."""

from __future__ import annotations

import csv
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slicer_core.checkpoints.checkpoint import MAX_STEP_DIGITS, Contents, StepUnit
from slicer_core.checkpoints.layouts import Place
from slicer_core.checkpoints.strict_json import read_object
from slicer_core.errors import CheckpointError, UsageError

Step = tuple[int, StepUnit]

# Tried in this order; the first that finds exactly one number decides.
_NAME_PATTERNS: tuple[tuple[re.Pattern[str], StepUnit], ...] = (
    (re.compile(r"(?:global_?step|step|iter(?:ation)?|itr)[-_=]?(\d+)", re.IGNORECASE), "step"),
    (re.compile(r"epoch[-_=]?(\d+)", re.IGNORECASE), "epoch"),
    # As timm names its files.
    (re.compile(r"^checkpoint-(\d+)\.pth\.tar$"), "epoch"),
    (re.compile(r"(?:checkpoint|ckpt|model|weights)[-_=](\d+)", re.IGNORECASE), "step"),
    (re.compile(r"^(\d+)(?:\.\w+)?$"), "step"),
)
_PLACEHOLDERS: dict[str, StepUnit] = {"{step}": "step", "{epoch}": "epoch"}


def step_from_name(path: Path) -> tuple[int | None, StepUnit]:
    """The number that known patterns find in a name, for example 500 in `checkpoint-500.pt`."""
    for pattern, unit in _NAME_PATTERNS:
        numbers = {int(number) for number in pattern.findall(path.name) if len(number) <= MAX_STEP_DIGITS}
        if len(numbers) == 1:
            return numbers.pop(), unit
    return None, "step"


def step_inside(place: Place, contents: Contents) -> tuple[int | None, StepUnit]:
    """The step that the checkpoint's own files state."""
    if contents.step is not None:
        return contents.step, contents.step_unit
    state = place.trainer_state()
    if state is not None:
        step = read_object(state).get("global_step")
        if isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 10**MAX_STEP_DIGITS:
            return step, "step"
    return None, "step"


def step_of(place: Place, contents: Contents, step_map: StepMap) -> tuple[int | None, StepUnit]:
    """The checkpoint's step, or None where nothing tells it."""
    told = step_map.step(place.path)
    if told is not None:
        return told
    step, unit = step_inside(place, contents)
    if step is None:
        step, unit = step_from_name(place.path)
        # accelerate's `checkpoint_3` is its fourth saving, whatever the step was.
        if place.is_counted and re.fullmatch(r"checkpoint_\d+", place.path.name):
            unit = "save"
    return step, unit


@dataclass(frozen=True, kw_only=True)
class StepMap:
    """What the user says of steps: by the names or paths of checkpoints, or as a pattern of names."""

    by_name: Mapping[str, Step] = field(default_factory=dict)
    pattern: re.Pattern[str] | None = None
    unit: StepUnit = "step"
    given: str = ""

    @classmethod
    def parse(cls, text: str | None) -> StepMap:
        """From `--step-map`: a pattern with `{step}` or `{epoch}`, NAME=STEP[,NAME=STEP], or a TOML, JSON or CSV file.

        A file maps the names of checkpoints to steps; `{epoch = 3}` in TOML, `{"epoch": 3}` in JSON and a header
        `name,epoch` in CSV say that epochs are meant.

        Raises:
            UsageError: it is none of these.
        """
        if text is None:
            return cls()
        found = [placeholder for placeholder in _PLACEHOLDERS if placeholder in text]
        if found:
            if len(found) > 1 or text.count(found[0]) > 1:
                raise UsageError(f"--step-map {text!r} has more than one placeholder: give {{step}} or {{epoch}} once")
            start, _, end = text.partition(found[0])
            pattern = re.compile(re.escape(start) + r"(\d+)" + re.escape(end))
            return cls(pattern=pattern, unit=_PLACEHOLDERS[found[0]], given=text)
        path = Path(os.path.expanduser(text))
        if path.is_file():
            return cls(by_name=_read_map(path), given=text)
        if "=" in text:
            pairs = [entry.rpartition("=") for entry in text.split(",")]
            return cls(by_name={name.strip(): _step(name, step, text) for name, _, step in pairs}, given=text)
        raise UsageError(
            f"--step-map {text!r} is neither a file, nor a pattern as in 'net_{{step}}.pt', nor NAME=STEP as in "
            "best.pt=500"
        )

    def step(self, path: Path) -> Step | None:
        """What it says of a checkpoint, if it does."""
        if self.pattern is not None:
            found = self.pattern.fullmatch(path.name)
            return (int(found[1]), self.unit) if found and len(found[1]) <= MAX_STEP_DIGITS else None
        for name, step in self.by_name.items():
            if _names(name, path):
                return step
        return None

    def check_used(self, paths: Iterable[Path]) -> None:
        """That everything in it is about a checkpoint that is there.

        Raises:
            UsageError: something is not.
        """
        there = list(paths)
        if self.pattern is not None and not any(self.pattern.fullmatch(path.name) for path in there):
            raise UsageError(f"--step-map {self.given!r} fits no name; there are {_listed(there)}")
        unused = [name for name in self.by_name if not any(_names(name, path) for path in there)]
        if unused:
            raise UsageError(
                f"--step-map {self.given} names {', '.join(unused[:5])}, which is not among the checkpoints "
                f"{_listed(there)}"
            )


NO_MAP = StepMap()
"""Where the user says nothing of steps."""


def _names(name: str, path: Path) -> bool:
    """Whether a name, or the end of a path, is that of the checkpoint."""
    parts = Path(name).parts
    return bool(parts) and path.absolute().parts[-len(parts) :] == parts


def _listed(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


def _read_map(path: Path) -> dict[str, Step]:
    try:
        if path.suffix == ".csv":
            return _read_csv(path)
        table = read_object(path) if path.suffix == ".json" else tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, CheckpointError) as error:
        raise UsageError(f"--step-map {path} can't be read: {error}") from error
    return {name: _step(name, value, str(path)) for name, value in table.items()}


def _read_csv(path: Path) -> dict[str, Step]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows or len(rows[0]) != 2 or any(len(row) != 2 for row in rows):
        raise ValueError("expected two columns, the checkpoint's name and its step")
    head = rows[0][1].strip().lower()
    unit = "epoch" if head == "epoch" else "step"
    rows = rows if head.isdecimal() else rows[1:]
    names = [name.strip() for name, _ in rows]
    if len(set(names)) != len(names):
        raise ValueError("a name is there twice")
    return {name.strip(): _step(name, {unit: step.strip()}, str(path)) for name, step in rows}


def _step(name: str, value: Any, given: str) -> Step:
    unit: StepUnit = "step"
    if isinstance(value, Mapping) and len(value) == 1 and set(value) <= {"step", "epoch"}:
        unit = "epoch" if "epoch" in value else "step"
        (value,) = value.values()
    text = str(value).strip() if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_STEP_DIGITS):
        raise UsageError(f"--step-map {given} gives {name.strip()!r} the step {value!r}: expected a number from 0 up")
    return int(text), unit
