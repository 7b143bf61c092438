"""How the engine's cost grows, and what does not depend on the arithmetic: start-up, overhead, memory.

Part of `make bench`. Nothing here is a test: the times are for people to judge.
"""

from __future__ import annotations

from imports import SECONDS  # isort: skip  # before anything else that imports torch

import argparse
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

import subjects
from machine import Machine, this_machine
from measure import run_engine
from resident import LOOK_SECONDS, together
from rows import plane
from slicer_core.choices import StrategyName
from slicer_core.plan import PointBlock
from subjects import Subject

_GROWTH = (1, 2, 4, 8, 16)
_GRID = 26
_SAMPLES = 1000
_CHECKPOINTS = Path("checkpoints_examples/digits_mlp")
# How often a job is to be repeated, so that the engine chooses as in a long one.
_MANY = 1000
_STARTUP_SECONDS = 2.0
_OVERHEAD_MICROSECONDS = 100.0


def main() -> None:
    """Prints a paragraph for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--tuned", action="store_true", help="with glibc's malloc thresholds raised")
    parser.add_argument("--quick", action="store_true", help="few points: only to see that all of it runs")
    options = parser.parse_args()
    machine = this_machine(options.device, tuned=options.tuned)
    print(", ".join(f"{name} {value}" for name, value in machine.describe().items()))
    print("imports, in none of it: " + ", ".join(f"{name} {spent:.2f} s" for name, spent in SECONDS.items()))
    growth(machine, options.repeats, grid=6 if options.quick else _GRID, samples=100 if options.quick else _SAMPLES)
    overhead(machine, options.repeats, grid=11 if options.quick else 51)
    memory(options.device, grid=3 if options.quick else 15)
    start_up(options.repeats)


def growth(machine: Machine, repeats: int, *, grid: int, samples: int) -> None:
    """Seconds of the MLP's plane over 16 times the points, and over 16 times the samples; set-up is done before."""
    subject = subjects.mlp(samples, machine.device)
    (block,) = plane(subject, quick=False, grid=grid)
    wrapper = subject.wrapper()

    def points(times: int) -> Callable[[], object]:
        repeated = PointBlock(directions=block.directions, coefficients=np.tile(block.coefficients, (times, 1)))
        return lambda: run_engine(wrapper, subject, [repeated], repeats=_MANY)

    def all_samples(times: int) -> Callable[[], object]:
        # The batch stays as it is, so that there are more of them.
        larger = replace(subjects.mlp(samples * times, machine.device), batch_size=samples)
        own = larger.wrapper()
        return lambda: run_engine(own, larger, [block], repeats=_MANY)

    _print_growth(f"points, from {len(block.coefficients):,}", [points(times) for times in _GROWTH], machine, repeats)
    _print_growth(f"samples, from {samples:,}", [all_samples(times) for times in _GROWTH], machine, repeats)


def overhead(machine: Machine, repeats: int, *, grid: int) -> None:
    """Microseconds of a point of the MLP with two samples, where there is next to no arithmetic.

    The difference of a long and a short job, so that what is done once is not in it.
    """
    subject = replace(subjects.mlp(_SAMPLES, machine.device).with_first(2), batch_size=2)
    (block,) = plane(subject, quick=False, grid=grid)
    short = PointBlock(directions=block.directions, coefficients=block.coefficients[: grid**2 // 10])
    strategies: tuple[StrategyName, ...] = ("loop", "partial")
    for strategy in strategies:
        run = partial(run_engine, subject.wrapper(), subject, strategy=strategy)
        found = []
        for _ in range(repeats + 1):
            beyond = machine.seconds(partial(run, [block])) - machine.seconds(partial(run, [short]))
            found.append(1e6 * beyond / (len(block.coefficients) - len(short.coefficients)))
        verdict = _verdict(statistics.median(found[1:]), _OVERHEAD_MICROSECONDS) if strategy == "partial" else ""
        print(f"overhead of a point, MLP, two samples, {strategy}: {_spread(found[1:])} µs{verdict}", flush=True)


def memory(device: str, *, grid: int) -> None:
    """What an evaluation takes beyond what its process had, both with the processes that share the points."""
    context = multiprocessing.get_context("spawn")
    for name, build in {"mlp-10000": partial(subjects.mlp, 10_000), "resnet20": subjects.resnet20}.items():
        here, there = context.Pipe()
        process = context.Process(target=_evaluate_when_told, args=(there, build, device, grid))
        process.start()
        there.close()
        here.recv()
        assert process.pid is not None
        peak = before = together(process.pid)
        here.send(None)
        while not here.poll(LOOK_SECONDS):
            peak = max(peak, together(process.pid))
        strategy = here.recv()
        process.join()
        print(
            f"peak memory, {name}, {strategy}: {(peak - before) / 2**20:.0f} MiB beyond the {before / 2**20:.0f} MiB "
            "that it begins with",
            flush=True,
        )


def start_up(repeats: int) -> None:
    """Seconds of `loss-slicer run` on a line of two points, less those of importing torch in a process of its own."""
    command = Path(sys.executable).with_name("loss-slicer")
    torch_seconds, run_seconds = [], []
    for _ in range(repeats + 1):
        torch_seconds.append(_process_seconds([sys.executable, "-c", "import torch"]))
        with tempfile.TemporaryDirectory() as folder:
            arguments = [
                *("run", "--method", "random1d", "--grid", "2", "--steps", "last", "--logdir", folder, "--quiet"),
                *("--module", f"{_CHECKPOINTS}/subject.py", "--checkpoints", f"{_CHECKPOINTS}/sgd/checkpoints"),
            ]
            run_seconds.append(_process_seconds([str(command), *arguments]))
    beyond = [run - imported for run, imported in zip(run_seconds[1:], torch_seconds[1:], strict=True)]
    print(
        f"start-up of loss-slicer run beyond importing torch ({statistics.median(torch_seconds[1:]):.2f} s): "
        f"{_spread(beyond)} s{_verdict(statistics.median(beyond), _STARTUP_SECONDS)}"
    )


def _print_growth(what: str, runs: Sequence[Callable[[], object]], machine: Machine, repeats: int) -> None:
    for run in runs:
        run()
    # In turns, so that a machine that slows down does not look like growth.
    spent = [[machine.seconds(run) for run in runs] for _ in range(repeats)]
    medians = [statistics.median(column) for column in zip(*spent, strict=True)]
    slope, constant = np.polyfit(_GROWTH, medians, 1)
    print(f"growth with {what}: " + ", ".join(f"×{n} {s:.3g} s" for n, s in zip(_GROWTH, medians, strict=True)))
    print(
        f"    {medians[-1] / medians[0]:.1f} times for 16 times as many; {constant:.3g} s + {slope:.3g} s for each "
        f"×1; the last is {medians[-1] / (constant + 16 * slope):.2f} of the line",
        flush=True,
    )


def _evaluate_when_told(told: Connection, build: Callable[..., Subject], device: str, grid: int) -> None:
    subject = build(torch.device(device))
    blocks = plane(subject, quick=False, grid=grid)
    subject.model(subject.data[0])
    told.send(None)
    told.recv()
    found = run_engine(subject.wrapper(), subject, blocks, repeats=_MANY)
    told.send(f"{found.strategy}, {found.workers} workers")


def _process_seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def _verdict(value: float, limit: float) -> str:
    return f"  FALLS SHORT of {limit:g}" if value > limit else f", under {limit:g}"


if __name__ == "__main__":
    main()
