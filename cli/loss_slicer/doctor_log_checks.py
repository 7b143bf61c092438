"""Whether TensorBoard can show the slices of a log: its event files are read whole, every slice is decoded."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loss_slicer.doctor_checks import Finding
from slicer_core.errors import FormatError
from slicer_core.slices import decode_slice
from tensorboard_loss_slicer.event_records import Damage, find_event_files, read_records, slice_values
from tensorboard_loss_slicer.plugin import DEFAULT_STEPS_KEPT
from tensorboard_loss_slicer.protos import value_blobs

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(kw_only=True)
class TagContents:
    """What a tag of a run holds. `steps` are in the order in which they were written."""

    slice_type: str | None = None
    steps: list[int] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class RunContents:
    """What a directory of event files holds. `slice_files` are those of `files` with slices in them."""

    files: list[Path]
    slice_files: list[Path] = field(default_factory=list)
    damages: list[tuple[Path, Damage]] = field(default_factory=list)
    tags: dict[str, TagContents] = field(default_factory=dict)


def read_log(logdir: Path) -> dict[str, RunContents]:
    """Run, as TensorBoard names it, -> what its event files hold."""
    runs: dict[str, RunContents] = {}
    for parent, folders, _ in os.walk(logdir, followlinks=True):
        folders.sort()
        files = find_event_files(Path(parent))
        if files:
            runs[Path(parent).relative_to(logdir).as_posix()] = _read_run(files)
    return runs


def check_log(logdir: Path, runs: dict[str, RunContents]) -> list[Finding]:
    """The findings on a log that `read_log` read."""
    return [*_check_files(logdir, runs), *_check_slices(logdir, runs), *_check_tags(runs)]


def log_summary(runs: dict[str, RunContents]) -> dict[str, dict[str, dict[str, Any]]]:
    """Run -> tag -> `{slice_type, slices, first_step, last_step}`."""
    return {
        run: {
            tag: {
                "slice_type": contents.slice_type,
                "slices": len(contents.steps),
                "first_step": min(contents.steps),
                "last_step": max(contents.steps),
            }
            for tag, contents in found.tags.items()
        }
        for run, found in runs.items()
        if found.tags
    }


def _read_run(files: list[Path]) -> RunContents:
    run = RunContents(files=files)
    descriptions: dict[str, str | None] = {}
    for file in files:
        for record in read_records(file):
            if isinstance(record, Damage):
                run.damages.append((file, record))
                continue
            for value, _ in slice_values(record, descriptions):
                contents = run.tags.setdefault(value.tag, TagContents())
                contents.steps.append(record.step)
                if file not in run.slice_files:
                    run.slice_files.append(file)
                try:
                    data = decode_slice(value_blobs(value))
                except FormatError as error:
                    contents.unreadable.append(f"step {record.step}: {error}")
                else:
                    contents.slice_type = contents.slice_type or data.slice_type
    return run


def _check_files(logdir: Path, runs: dict[str, RunContents]) -> Iterator[Finding]:
    name = "event files"
    if not runs:
        message = f"there are no event files under {logdir}"
        advice = "give the folder that tensorboard --logdir gets; loss-slicer run and log_slice write such files"
        yield Finding(check=name, status="problem", message=message, advice=advice)
        return
    num_files = sum(len(run.files) for run in runs.values())
    damages = [damage for run in runs.values() for damage in run.damages]
    for file, damage in damages:
        if damage.at_end:
            message = f"{file} is cut off: it ends within a record that begins at byte {damage.offset}"
            advice = "wait, where a program is still writing it; else loss-slicer rebuild makes it again from the store"
        else:
            message = f"{file} is damaged at byte {damage.offset}: TensorBoard shows nothing, or rubbish, from there on"
            advice = "loss-slicer rebuild makes it again from the store; or restore the file from a copy"
        yield Finding(check=name, status="problem", message=message, advice=advice)
    if not damages:
        yield Finding(check=name, status="ok", message=f"{num_files} in {len(runs)} runs, all of them whole")


def _check_slices(logdir: Path, runs: dict[str, RunContents]) -> Iterator[Finding]:
    name = "slices"
    tags = [contents for run in runs.values() for contents in run.tags.values()]
    if runs and not tags:
        message = f"none of the event files under {logdir} holds a slice"
        advice = f"loss-slicer run --checkpoints … --logdir {logdir} writes some, as does log_slice"
        yield Finding(check=name, status="problem", message=message, advice=advice)
    elif tags and not any(contents.unreadable for contents in tags):
        total = sum(len(contents.steps) for contents in tags)
        yield Finding(check=name, status="ok", message=f"{total} in {len(tags)} tags, all of them readable")


def _check_tags(runs: dict[str, RunContents]) -> Iterator[Finding]:
    for run, found in runs.items():
        if len(found.files) > 1 and found.slice_files not in ([], found.files[-1:]):
            yield Finding(
                check="several files",
                status="warning",
                message=f"run {run} has {len(found.files)} event files: TensorBoard's Python loader reads the last one",
                advice="tensorboard --reload_multifile true reads all; the fast loader does so anyway",
            )
        for tag, contents in found.tags.items():
            yield from _check_tag(f"run {run}, tag {tag}", contents)


def _check_tag(where: str, contents: TagContents) -> Iterator[Finding]:
    if contents.unreadable:
        message = f"{where}: {len(contents.unreadable)} slices can't be read; {contents.unreadable[0]}"
        advice = "loss-slicer rebuild makes them again from the store; a newer format needs a newer version"
        yield Finding(check="slices", status="problem", message=message, advice=advice)
    if any(later <= earlier for earlier, later in pairwise(contents.steps)):
        message = f"{where}: the steps do not ascend, and TensorBoard drops earlier ones"
        advice = "log a tag's slices in ascending steps, or let loss-slicer rebuild write them again in order"
        yield Finding(check="step order", status="problem", message=message, advice=advice)
    if len(contents.steps) > DEFAULT_STEPS_KEPT:
        message = f"{where}: {len(contents.steps)} steps, of which TensorBoard keeps {DEFAULT_STEPS_KEPT}"
        advice = "tensorboard --samples_per_plugin loss_slicer=0 keeps all, in memory"
        yield Finding(check="sampling", status="warning", message=message, advice=advice)
