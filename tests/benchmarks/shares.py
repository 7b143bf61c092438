"""What sharing the data among processes saves beside sharing the points: the processors' time of a curve.

python tests/benchmarks/shares.py

51 points of an MLP on 10,000 samples in batches of 256. The processes' own time is counted, not how long it takes, so
that more of them than the machine has cores can be asked for. The way that is not measured is switched off from here.
"""

from __future__ import annotations

import os
import statistics
from dataclasses import replace
from unittest import mock

import torch

import subjects
from machine import this_machine
from rows import line
from slicer_core import EvaluationSettings
from slicer_core.evaluate import evaluate, shares

_ROUNDS = 5
_BATCH_SIZE = 256


def main() -> None:
    """Prints the median of five rounds for each number of processes and each way, which take turns."""
    print(", ".join(f"{name} {value}" for name, value in this_machine("cpu", tuned=False).describe().items()))
    subject = replace(subjects.mlp(10_000, torch.device("cpu")), batch_size=_BATCH_SIZE)
    wrapper, blocks = subject.wrapper(), line(subject)
    split = wrapper.split("train", _BATCH_SIZE)
    for workers in (2, 8):
        spent: dict[bool, list[float]] = {False: [], True: []}
        settings = EvaluationSettings(strategy="partial", workers=workers)
        for _ in range(_ROUNDS):
            for by_parts, found in spent.items():
                with mock.patch.object(shares, "parts_pay", lambda *_args, answer=by_parts: answer):
                    before = _processor_seconds()
                    evaluate(wrapper, split, blocks, wrapper.state(), settings=settings)
                    found.append(_processor_seconds() - before)
        points, parts = (statistics.median(spent[by_parts]) for by_parts in (False, True))
        print(
            f"{workers} processes: {points:.2f} s where they share the points, {parts:.2f} s where they share the data"
        )


def _processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
