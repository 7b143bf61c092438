"""What each of several worker processes of a run has of its machine: threads, a GPU, memory."""

from __future__ import annotations

import math
import os

import torch

from slicer_core.evaluate.memory import memory_budget_bytes


def worker_environment(number: int, workers: int, device: str) -> dict[str, str]:
    """Of one worker: its share of the threads, and the GPU that `--device` names, or its share of all."""
    threads = str(max(1, torch.get_num_threads() // workers))
    variables = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if torch.cuda.is_available():
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        devices = [name for name in chosen if name] or [str(index) for index in range(torch.cuda.device_count())]
        _, _, named = device.partition(":")
        variables["CUDA_VISIBLE_DEVICES"] = devices[int(named) if named else number % len(devices)]
    return variables


def memory_of_worker(budget: int | None, workers: int | None, device: torch.device, *, named: bool) -> int | None:
    """The bytes that one worker may take, where `budget` is for all on a device; None is all that is free then.

    Workers do not see what the others are about to take, so each has its part of what is free now. `named`: the run
    names the one GPU that all are on.
    """
    if workers is None or workers == 1:
        return budget
    spread = torch.cuda.device_count() if device.type == "cuda" and not named else 1
    return max(1, memory_budget_bytes(budget, device) // math.ceil(workers / spread))
