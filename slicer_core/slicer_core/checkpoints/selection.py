"""`--steps`: which of the checkpoints a run takes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slicer_core.checkpoints.checkpoint import Checkpoint
from slicer_core.errors import UsageError

ACCEPTED = "all, first, last, first,last, every:K, A:B, A:B:C or a list of steps as in 0,100,500"


def select_steps(checkpoints: Sequence[Checkpoint], selection: str) -> tuple[Checkpoint, ...]:
    """The chosen ones, ascending. `every:K` takes each K-th checkpoint; `A:B:C` the steps A, A + C, … below B.

    Raises:
        UsageError: the text is of no known form, names a step that is not there, or leaves none.
    """
    text = selection.strip().replace(" ", "")
    chosen = _chosen_steps([checkpoint.step for checkpoint in checkpoints], text)
    if chosen is None:
        raise UsageError(f"--steps {selection!r} is not of a known form: give {ACCEPTED}")
    picked = tuple(checkpoint for checkpoint in checkpoints if checkpoint.step in chosen)
    if not picked:
        raise UsageError(f"--steps {selection!r} leaves none of the steps {_listed(checkpoints)}")
    return picked


def _chosen_steps(steps: Sequence[int], text: str) -> set[int] | None:
    if text == "all":
        return set(steps)
    every = re.fullmatch(r"every:([1-9]\d*)", text)
    if every:
        return set(steps[:: int(every[1])])
    span = re.fullmatch(r"(\d*):(\d*)(?::([1-9]\d*))?", text)
    if span:
        start, stride = int(span[1] or 0), int(span[3] or 1)
        stop = int(span[2]) if span[2] else max(steps) + 1
        return {step for step in steps if start <= step < stop and (step - start) % stride == 0}
    if not re.fullmatch(r"(first|last|\d+)(,(first|last|\d+))*", text):
        return None
    words = {"first": min(steps), "last": max(steps)}
    chosen = {words[part] if part in words else int(part) for part in text.split(",")}
    absent = sorted(chosen - set(steps))
    if absent:
        raise UsageError(f"--steps names {', '.join(map(str, absent))}, which is not there; there are {steps}")
    return chosen


def _listed(checkpoints: Sequence[Checkpoint]) -> str:
    return ", ".join(str(checkpoint.step) for checkpoint in checkpoints[:20])
