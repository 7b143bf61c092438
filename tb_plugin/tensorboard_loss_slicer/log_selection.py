"""Slices of a log by run, tag and step, from its event files alone."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from slicer_core.errors import FormatError, UsageError, suggestion
from slicer_core.slices import Slice
from tensorboard_loss_slicer.event_files import SliceEvent, read_events
from tensorboard_loss_slicer.event_records import find_event_files

_WORDS = ("all", "first", "last")


@dataclass(frozen=True, kw_only=True)
class LoggedSlice:
    """A slice with where and when it was logged. `wall_time` in seconds since 1970."""

    run: str
    tag: str
    step: int
    wall_time: float
    data: Slice
    description: str | None = None

    @property
    def step_unit(self) -> str:
        """What the step counts."""
        return self.data.step_unit


@dataclass(frozen=True, kw_only=True)
class UnreadableSlice:
    """Where a slice was logged that can't be read, and why; the error says both."""

    run: str
    tag: str
    step: int
    error: FormatError
    # What it counts can't be read.
    step_unit: ClassVar[str] = "step"


def select_slices(
    logdir: Path,
    *,
    runs: Sequence[str] = (),
    tags: Sequence[str] = (),
    steps: str = "last",
    unreadable: Callable[[UnreadableSlice], None] | None = None,
) -> list[LoggedSlice]:
    """The slices whose run and tag fit one of the globs, by run, tag and step; without globs, of all.

    `steps`: all, first, last, or numbers as in 0,500. A slice that was written before another one of the same step, or
    of a lower one, does not count: a training that is resumed leaves such behind. Whether each glob and each number
    chose something is for `check_choices`. Of the chosen slices those that can't be read are told to `unreadable` and
    left out, where it is given; the last step is the last one also where it can't be read.

    Raises:
        FormatError: an event file is damaged, or a chosen slice can't be read and there is no `unreadable`.
        UsageError: there is no such slice; the message lists what there is.
    """
    if not logdir.is_dir():
        raise UsageError(f"there is no log directory {logdir}")
    found = _run_directories(logdir)
    if not found:
        raise UsageError(f"there are no event files under {logdir}: give the folder that tensorboard --logdir gets")
    selected: list[LoggedSlice] = []
    failed = False
    there: dict[str, list[str]] = {}
    for run, folder in found.items():
        if not _fits(run, runs):
            continue
        by_tag = _latest_writings(folder, tags)
        there[run] = list(by_tag)
        for tag in sorted(tag for tag, slices in by_tag.items() if slices):
            for step in _chosen(sorted(by_tag[tag]), steps):
                event = by_tag[tag][step]
                if isinstance(event, SliceEvent):
                    selected.append(_logged(run, event))
                    continue
                if unreadable is None:
                    raise event
                failed = True
                unreadable(UnreadableSlice(run=run, tag=tag, step=step, error=event))
    if not selected and not failed:
        raise UsageError(_nothing(logdir, found, there, runs, tags, steps))
    return selected


def check_choices(
    selected: Sequence[LoggedSlice | UnreadableSlice], *, runs: Sequence[str], tags: Sequence[str], steps: str
) -> None:
    """That each of the globs and of the numbers that chose these slices is of one of them.

    Raises:
        UsageError: one is not, and what was asked for would be left out without a word.
    """
    for option, globs, names in (
        ("--run", runs, {each.run for each in selected}),
        ("--tag", tags, {each.tag for each in selected}),
    ):
        for glob in globs:
            if not any(_fits(name, [glob]) for name in names):
                shown = ", ".join(sorted(name.removesuffix("/loss_slicer") for name in names)[:8])
                raise UsageError(f"no slice fits {option} {glob}; those of the other choices are of {shown}")
    there = sorted({each.step for each in selected})
    wanted = [] if steps in _WORDS else list(map(int, steps.split(",")))
    missing = [str(step) for step in wanted if step not in there]
    if missing:
        raise UsageError(
            f"no slice has step {', '.join(missing)} (--step {steps}); there is only step "
            f"{', '.join(map(str, there[:8]))} of them"
        )


def _latest_writings(folder: Path, tags: Sequence[str]) -> dict[str, dict[int, SliceEvent | FormatError]]:
    """Tag -> step, ascending -> the slice of a run directory that was written last, or why it can't be read.

    All tags are there, those that don't fit without their slices. What was written before at a step or a later one is
    gone, as in TensorBoard's fast loader.
    """
    by_tag: dict[str, dict[int, SliceEvent | FormatError]] = {}

    def keep(tag: str, step: int, found: SliceEvent | FormatError) -> None:
        of_tag = by_tag.setdefault(tag, {})
        if not _fits(tag, tags):
            return
        # Ascending, so that the last one is the highest.
        while of_tag and next(reversed(of_tag)) >= step:
            of_tag.popitem()
        of_tag[step] = found

    for event in read_events(folder, unreadable=keep):
        keep(event.tag, event.step, event)
    return by_tag


def _logged(run: str, event: SliceEvent) -> LoggedSlice:
    return LoggedSlice(
        run=run,
        tag=event.tag,
        step=event.step,
        wall_time=event.wall_time,
        data=event.data,
        description=event.description,
    )


def _run_directories(logdir: Path) -> dict[str, Path]:
    """Run, as TensorBoard names it, -> its directory."""
    found: dict[str, Path] = {}
    for parent, folders, _ in os.walk(logdir, followlinks=True):
        folders.sort()
        if find_event_files(Path(parent)):
            found[Path(parent).relative_to(logdir).as_posix()] = Path(parent)
    return found


def _fits(name: str, globs: Sequence[str]) -> bool:
    # A run is the source's name for people, and has our own folder behind it in the log.
    short = name.removesuffix("/loss_slicer")
    return not globs or any(fnmatch.fnmatchcase(each, glob) for glob in globs for each in (name, short))


def _chosen(there: list[int], steps: str) -> list[int]:
    if steps == "all":
        return there
    if steps in _WORDS:
        return [there[0 if steps == "first" else -1]]
    try:
        wanted = [int(text) for text in steps.split(",")]
    except ValueError:
        raise UsageError(f"--step {steps!r} is not all, first, last or numbers as in 0,500") from None
    return [step for step in wanted if step in there]


def _nothing(
    logdir: Path,
    found: dict[str, Path],
    there: dict[str, list[str]],
    runs: Sequence[str],
    tags: Sequence[str],
    steps: str,
) -> str:
    if not any(_fits(run, runs) for run in found):
        known = [run.removesuffix("/loss_slicer") for run in found]
        return f"no run of {logdir} fits --run {' '.join(runs)}; there are {', '.join(known[:8])}"
    known = sorted({tag for names in there.values() for tag in names})
    if not known:
        return f"none of the event files under {logdir} holds a slice"
    if not any(_fits(tag, tags) for tag in known):
        return f"no tag fits --tag {' '.join(tags)}; there are {', '.join(known[:8])}{suggestion(tags[0], known)}"
    return f"no slice has one of the steps {steps} (--step)"
