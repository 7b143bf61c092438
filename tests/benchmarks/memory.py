"""The streaming strategy's peak memory, as a multiple of the parameters' bytes, on a synthetic model on the CPU.

A fresh process builds a stack of linear layers, with its weights from a safetensors file that is written by parts, and
takes a random2d slice around that file's point. What it holds at its peak (its largest resident set, less what it had
after importing) is printed. Files are read and not mapped, so that their pages count in no process.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

WIDTH = 8192
SAMPLES = 8


class Stack(nn.Module):
    """Square layers, each after a ReLU, and a head of ten classes."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(depth))
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, features: Tensor) -> Tensor:
        """(n, WIDTH) to (n, 10)."""
        for layer in self.layers:
            features = torch.relu(layer(features))
        return self.head(features)


def build(depth: int) -> Stack:
    """The model with memory for its parameters and nothing in it."""
    with torch.device("meta"):
        model = Stack(depth)
    return model.to_empty(device="cpu")


def write_checkpoint(path: Path, depth: int) -> None:
    from slicer_core.checkpoints import write_safetensors
    from slicer_core.parameters import LazyTensors

    with torch.device("meta"):
        like = Stack(depth).state_dict()

    def rows(name: str, start: int, stop: int) -> Tensor:
        tensor = like[name]
        return torch.randn(stop - start, *tensor.shape[1:]) * (2 / WIDTH) ** 0.5

    write_safetensors(path, LazyTensors(like, rows))


def resident() -> int:
    """The largest resident set of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(path: Path, depth: int, grid: int, params: tuple[str, ...]) -> dict[str, float]:
    """Takes the slice in this process."""
    from slicer_core import EvaluationSettings, ModelWrapper
    from slicer_core.checkpoints import open_safetensors
    from slicer_core.methods.assemble import assemble
    from slicer_core.methods.evaluation import evaluate_plan
    from slicer_core.methods.method import CenterPoint, SliceOptions
    from slicer_core.methods.random_direction import Random2D
    from slicer_core.subject import match_state

    baseline = resident()
    model = build(depth)
    parameters = sum(parameter.nbytes for parameter in model.parameters())
    data = (torch.randn(SAMPLES, WIDTH), torch.randint(0, 10, (SAMPLES,)))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), data)
    state = match_state(open_safetensors(path), model, source=str(path))
    center = CenterPoint(wrapper=wrapper, state=state, scale_state=state, other=lambda name: state)
    start = time.perf_counter()
    plan = Random2D().plan(center, SliceOptions(grid=(grid, grid), params=params))
    planned = time.perf_counter()
    tiles = evaluate_plan(
        plan, center, splits=("train",), settings=EvaluationSettings(strategy="streaming", batch_size=SAMPLES)
    )
    found = assemble(plan, tiles, center, config={})
    return {
        "parameters": parameters,
        "baseline": baseline,
        "peak": resident(),
        "plan": planned - start,
        "evaluation": time.perf_counter() - planned,
        "finite": bool(torch.from_numpy(found.loss).isfinite().all()),
    }


def number(text: str) -> int:
    """`500M`, `1.3B` or a plain number."""
    factors = {"K": 10**3, "M": 10**6, "B": 10**9}
    return int(float(text.rstrip("KMB")) * factors.get(text[-1], 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=number, default="500M", help="about how many, as in 500M (the default)")
    parser.add_argument("--grid", type=int, default=3, help="points along each of the two axes")
    parser.add_argument("--params", action="append", default=[], help="GLOB of the parameters that vary (default: all)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    # 500M is seven layers of 67M, and some.
    depth = max(1, given.parameters // WIDTH**2)
    if given.measure is not None:
        print(json.dumps(measure(given.measure, depth, given.grid, tuple(given.params))))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step-0.safetensors"
        write_checkpoint(path, depth)
        command = [sys.executable, __file__, "--measure", str(path)]
        command += ["--parameters", str(given.parameters), "--grid", str(given.grid)]
        command += [word for glob in given.params for word in ("--params", glob)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    size, baseline, peak = (found[name] for name in ("parameters", "baseline", "peak"))
    mib = 2**20
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads")
    print(f"{size / 4e6:.1f} M parameters in {depth} layers of {WIDTH} and a head: {size / mib:.0f} MiB in float32")
    print(f"after importing       {baseline / mib:8.0f} MiB")
    print(f"peak                  {peak / mib:8.0f} MiB  {peak / size:.3f} x the parameters")
    print(
        f"peak less the imports {(peak - baseline) / mib:8.0f} MiB  {(peak - baseline) / size:.3f} x, of 1.15 allowed"
    )
    print(f"{given.grid}x{given.grid} points: {found['plan']:.0f} s to plan, {found['evaluation']:.0f} s to evaluate")
    if not found["finite"]:
        raise SystemExit("a loss is not finite")


if __name__ == "__main__":
    main()
