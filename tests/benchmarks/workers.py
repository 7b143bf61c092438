"""How much faster two worker processes of one thread are than one, from the first stored tile to the last.

python tests/benchmarks/workers.py [--grid 201]
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import this_machine

_EXAMPLE = Path("checkpoints_examples/digits_mlp")
_ROUNDS = 3


def main() -> None:
    """Prints points a second of one and of two workers, and the ratio, with the spread of three rounds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--grid", type=int, default=151)
    grid = options.parse_args().grid
    print(this_machine("cpu", tuned=False).describe())
    rates = {workers: [_rate(workers, grid) for _ in range(_ROUNDS)] for workers in (1, 2)}
    for workers, found in rates.items():
        print(f"{workers} worker(s): {max(found):,.0f} points/s (of {', '.join(f'{rate:,.0f}' for rate in found)})")
    print(f"ratio: {max(rates[2]) / max(rates[1]):.2f}")


def _rate(workers: int, grid: int) -> float:
    """Points a second between the first tile and the last, without what starts and ends a run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "loss_slicer", "run", "-q", "--grid", str(grid), "--strategy", "loop"),
            *("--module", f"{_EXAMPLE}/subject.py", "--checkpoints", f"{_EXAMPLE}/sgd/checkpoints", "--steps", "first"),
            *("--workers", str(workers), "--logdir", folder),
        ]
        variables = {"OMP_NUM_THREADS": "1", "LOSS_SLICER_TILE_SECONDS": "0.5"}
        subprocess.run(command, check=True, env=os.environ | variables)
        (store,) = Path(folder).rglob("slices.sqlite")
        connection = sqlite3.connect(store)
        rows = connection.execute("SELECT tile, created FROM tiles WHERE metric = 'loss' ORDER BY created").fetchall()
        connection.close()
    # Tiles are made at the same time, so those that are there after the first `workers` count.
    later = rows[workers + 1 :]
    begun, ended = rows[workers][1], rows[-1][1]
    points = sum(int(stop) - int(start) for start, stop in (tile.split(":")[1].split("-") for tile, _ in later))
    return points / (ended - begun)


if __name__ == "__main__":
    main()
