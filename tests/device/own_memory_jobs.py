"""Runs all jobs on one device, in one process, and prints what each did.

own_memory_jobs.py DEVICE CHECKPOINTS LOGDIR [LIBRARY]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from loss_slicer import main
from own_memory import load
from slicer_core.evaluate.strategies import RECORDERS
from tape import Tape

METHODS = {
    "random2d": "--grid 4x3 --split both --per-class --gradient-norm --trajectory --weight-decay 0.01",
    "random1d": "--grid 5 --repeats 2 --measures all --steps last",
    "linear": "--grid 5 --batchnorm recompute",
    "axis": "--grid 4 --params-to-slice random:8 --steps last",
    "layers": "--grid 3 --batch-size 16 --steps last",
    "pca2d": "--grid 3x3",
    "plane": "--grid 3x3",
    "gradient": "--grid 4 --steps last",
    "gradient --along adam": "--grid 4 --steps last",
    "hessian1d": "--grid 4 --steps last",
    "hessian2d": "--grid 3x3 --steps last",
    "bezier": "--grid 4 --train-steps 5 --steps first",
}
STRATEGIES = [
    "loop",
    "vmap",
    "partial",
    "partial-vmap",
    "partial-cudagraph",
    "partial-vmap-cudagraph",
    "streaming",
]
JOBS = {
    **{method: f"--method {method} {options}" for method, options in METHODS.items()},
    **{f"strategy {name}": f"--method random2d --grid 4x4 --steps last --strategy {name}" for name in STRATEGIES},
    **{f"layers {name}": f"--method layers --grid 3 --steps last --strategy {name}" for name in STRATEGIES[2:6]},
    "strategy partial on 64 points": "--method random2d --grid 8x8 --steps last --strategy partial",
    "float64": "--method random2d --grid 3x3 --steps last --strategy partial --dtype float64",
    "bfloat16": "--method random2d --grid 3x3 --steps last --strategy partial --dtype bfloat16",
    "samples": "--method random2d --grid 3x3 --steps last --samples 30",
    "tolerance": "--method random2d --grid 11x11 --steps last --tolerance 2%",
    "memory budget": "--method random2d --grid 3x3 --steps last --strategy partial --memory-budget 200KB",
}
MODULE = Path(__file__).with_name("own_memory_subject.py")


def run(device: str, checkpoints: str, logdir: Path) -> None:
    """Each job, with a line of JSON after it: its name, its status, and what it waited for and copied."""
    for name, options in JOBS.items():
        where = logdir / name.replace(" ", "-")
        before = transfers(device)
        given = ["--checkpoints", checkpoints, "--module", MODULE, "--set", f"device={device}", "--logdir", where]
        sys.argv = ["loss-slicer", "run", *map(str, given), *options.split()]
        try:
            main()
            status = 0
        except SystemExit as error:
            status = error.code
        spent = [after - earlier for after, earlier in zip(transfers(device), before, strict=True)]
        print("\n" + json.dumps({"job": name, "status": status, "waits and copies": spent}), flush=True)


def transfers(device: str) -> list[int]:
    """How often the device was waited for, and how often something was copied to it or from it."""
    return [0, 0] if device == "cpu" else torch.ops.own_memory.waits_and_copies()


if __name__ == "__main__":
    name, checkpoints, logdir, *library = sys.argv[1:]
    if library:
        load(Path(library[0]))
    # What a CUDA graph does, without a GPU.
    RECORDERS[name] = Tape()
    run(name, checkpoints, Path(logdir))
