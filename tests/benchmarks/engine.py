"""`make bench`: the engine, as the command runs it, against the loop that a good user writes, in turns.

`docs/benchmarks.md` tells what the rows and columns are. Nothing here is a test: the times are for people to judge.
"""

from __future__ import annotations

from imports import SECONDS  # isort: skip  # before anything else that imports torch

import argparse
import json
import statistics
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch

from machine import Machine, this_machine
from measure import Effort, Measurement, compare_strategies, measure, warm_seconds
from report import print_contest, print_header, print_losers, print_row
from rows import contests, table

_WARM_SECONDS = 0.02


def main() -> None:
    """Prints the table, and the rows that fall short."""
    options = _options()
    machine = this_machine(options.device, tuned=not options.library)
    effort = Effort(repeats=max(1, options.repeats), quick=options.quick, full=options.full)
    rates = {name: machine.matrix_rate(getattr(torch, name)) for name in ("float32", "bfloat16")}
    print_header(machine, SECONDS, rates)
    rows, losers = [], []
    for row in _chosen(table(), options.rows):
        if row.needs_cuda and machine.device.type != "cuda":
            continue
        found = measure(row, machine, effort)
        print_row(found, machine)
        losers += [f"{found.name}: {short}" for short in found.loses]
        rows.append(_as_json(found))
    if machine.device.type == "cuda":
        losers += _warm(options.rows, machine, effort, rows)
    for row in _chosen(contests(), options.rows):
        spent = compare_strategies(row, machine, effort)
        loser = print_contest(row.name, spent)
        losers += [] if loser is None else [loser]
        rows.append({"name": row.name, "seconds": spent})
    print_losers(losers)
    if options.json is not None:
        document = {"machine": machine.describe(), "imports": SECONDS, "matrix_rates": rates, "rows": rows}
        options.json.write_text(json.dumps({**document, "fall_short": losers}, indent=2) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = ", ".join(row.name for row in [*table(), *contests()])
    parser.add_argument("--rows", default="*", metavar="GLOB", help=f"which rows to run, of {names}")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--library", action="store_true", help="leave this process's allocator as it is, as a script of yours would"
    )
    parser.add_argument("--quick", action="store_true", help="few points: only to see that all of it runs")
    parser.add_argument("--full", action="store_true", help="time the user's loop on all points, however long it takes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args()


def _chosen(rows: list[Any], glob: str) -> list[Any]:
    return [row for row in rows if fnmatch(row.name, glob)]


def _warm(glob: str, machine: Machine, effort: Effort, rows: list[dict[str, Any]]) -> list[str]:
    """The first row once more without its set-up."""
    row = table()[0]
    name = f"{row.name}/warm"
    if not fnmatch(name, glob):
        return []
    spent = warm_seconds(row, machine, effort)
    median = statistics.median(spent)
    print(f"{name:<32}{median * 1e3:.1f} ms without set-up ({min(spent) * 1e3:.1f}-{max(spent) * 1e3:.1f})", flush=True)
    rows.append({"name": name, "seconds": spent})
    return [f"{name}: {median * 1e3:.1f} ms, not {_WARM_SECONDS * 1e3:g}"] if median > _WARM_SECONDS else []


def _as_json(found: Measurement) -> dict[str, Any]:
    return {**asdict(found), "ratios": found.ratios, "ratio": found.ratio, "loses": found.loses}


if __name__ == "__main__":
    main()
