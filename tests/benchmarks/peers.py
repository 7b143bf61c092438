"""`make bench-peers`: the same plane of the same MLP by loss-landscapes and by the engine, in turns in one process.

loss-landscapes draws its directions from another distribution and has no seed of its own, so the losses are not
compared: the work is, 51×51 forward passes over 1,000 samples. It runs as its documentation has it.
"""

from __future__ import annotations

from imports import SECONDS  # isort: skip  # before anything else that imports torch

import argparse
import copy
import statistics
from importlib.metadata import version

import loss_landscapes  # pyright: ignore[reportMissingImports]  # only in .venv-peers
import numpy as np
from loss_landscapes.metrics import Loss  # pyright: ignore[reportMissingImports]
from torch import nn

import subjects
from machine import Machine, this_machine
from measure import run_engine
from rows import plane
from subjects import Subject

_SAMPLES = 1000
_TARGET = 5.0


def main() -> None:
    """Prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--grid", type=int, default=51, metavar="N")
    parser.add_argument("--tuned", action="store_true", help="both with glibc's malloc thresholds raised")
    options = parser.parse_args()
    machine = this_machine("cpu", tuned=options.tuned)
    print(", ".join(f"{name} {value}" for name, value in machine.describe().items()))
    print("imports, in none of it: " + ", ".join(f"{name} {spent:.2f} s" for name, spent in SECONDS.items()))
    subject = subjects.mlp(_SAMPLES, machine.device)
    blocks = plane(subject, quick=False, grid=options.grid)
    run_engine(subject.wrapper(), subject, blocks)
    theirs, ours = [], []
    for _ in range(options.repeats):
        theirs.append(_peer_seconds(machine, subject, options.grid))
        ours.append(machine.seconds(lambda: run_engine(subject.wrapper(), subject, blocks)))
    print(f"MLP 784-128-64-10, {_SAMPLES:,} samples, {options.grid}×{options.grid}, filter-normalized")
    print(f"engine, capture counted: {statistics.median(ours):.3g} s")
    ratios = [peer / own for peer, own in zip(theirs, ours, strict=True)]
    ratio = statistics.median(ratios)
    print(
        f"loss-landscapes {version('loss-landscapes')}: {statistics.median(theirs):.3g} s, ratio {ratio:.2f} "
        f"({min(ratios):.2f}-{max(ratios):.2f}), target {_TARGET:g}{'  LOSES' if ratio < _TARGET else ''}"
    )


def _peer_seconds(machine: Machine, subject: Subject, grid: int) -> float:
    model = copy.deepcopy(subject.model)
    metric = Loss(nn.CrossEntropyLoss(), *subject.data)
    start = machine.clock()
    losses = loss_landscapes.random_plane(model, metric, distance=1, steps=grid, normalization="filter")
    spent = machine.clock() - start
    if losses.shape != (grid, grid) or not np.isfinite(losses).all():
        raise SystemExit("loss-landscapes did not give a finite loss at each point, so there is nothing to compare")
    return spent


if __name__ == "__main__":
    main()
