"""Slices of two logs that are of the same thing, and previews that a whole slice has replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slicer_core.choices import PREVIEW
from slicer_core.errors import UsageError
from tensorboard_loss_slicer.log_selection import LoggedSlice, UnreadableSlice

AnySlice = LoggedSlice | UnreadableSlice


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """`matched`: baseline and new. `missing`: of the baseline alone. `added`: of the new log alone."""

    matched: tuple[tuple[AnySlice, AnySlice], ...]
    missing: tuple[AnySlice, ...]
    added: tuple[AnySlice, ...]


def pair_slices(baseline: Sequence[AnySlice], new: Sequence[AnySlice], *, by_step: bool) -> Pairs:
    """Slices with the same run and tag; where each side has one run, whatever its name. Also those that can't be read.

    `by_step`: also with the same step. Otherwise both have one step of each run and tag, such as the last, whichever
    that is.

    Raises:
        UsageError: no two slices go together.
    """
    any_run = len({each.run for each in baseline}) == 1 == len({each.run for each in new})

    def key(each: AnySlice) -> tuple[str, str, int]:
        return ("" if any_run else each.run, each.tag, each.step if by_step else 0)

    there = {key(each): each for each in new}
    matched = tuple((each, there[key(each)]) for each in baseline if key(each) in there)
    if not matched:
        raise UsageError(
            f"no slice of the new log has run, tag and step of the baseline's; the baseline has {_names(baseline)}, "
            f"the new one {_names(new)}"
        )
    taken = {key(each) for each in baseline}
    return Pairs(
        matched=matched,
        missing=tuple(each for each in baseline if key(each) not in there),
        added=tuple(each for each in new if key(each) not in taken),
    )


def without_previews(chosen: Sequence[LoggedSlice]) -> list[LoggedSlice]:
    """All but the provisional slices of which the whole one, of that step or a later one, is there too."""
    whole = {(each.run, each.tag): each.step for each in chosen if each.data.status == "complete"}
    return [
        each
        for each in chosen
        if each.data.status == "complete" or whole.get((each.run, each.tag.removesuffix(PREVIEW)), -1) < each.step
    ]


def _names(slices: Sequence[AnySlice]) -> str:
    names = [f"{each.run.removesuffix('/loss_slicer')} {each.tag} {each.step}" for each in slices]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
