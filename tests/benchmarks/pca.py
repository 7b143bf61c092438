"""The peak memory of `loss-slicer run --method pca2d` over many checkpoints of a large model, on the CPU.

The checkpoints are those of a random walk, each a safetensors file of its own. The command runs in processes of its
own, whose memory is looked at all the time: pages that several of them share count once. The largest sum is printed
with how long it took: principal axes, the path in their plane, the loss at each checkpoint, and a small grid. Files are
read and not mapped, so that their pages count in no process.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from resident import LOOK_SECONDS, together

LAYERS = 3
SUBJECT = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(*(nn.Linear({width}, {width}, bias=False) for _ in range({layers})))
loss_fn = nn.MSELoss()
train_data = (torch.randn(8, {width}), torch.randn(8, {width}))
"""


def walk(width: int, count: int) -> Iterator[dict[str, Tensor]]:
    """The weights of a random walk that starts at a network's usual initialization."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        f"{index}.weight": nn.init.kaiming_uniform_(torch.empty(width, width), a=5**0.5, generator=generator)
        for index in range(LAYERS)
    }
    step = torch.empty(width, width)
    for _ in range(count):
        yield weights
        for tensor in weights.values():
            tensor.add_(step.normal_(generator=generator), alpha=0.1 / width**0.5)


def measure(folder: Path, log: Path, grid: int, options: list[str]) -> dict[str, Any]:
    """Runs the command, and gives its peak (bytes), its seconds and what its slice says."""
    command = [sys.executable, "-m", "loss_slicer", "run", "--method", "pca2d", "--grid", str(grid), "--json"]
    command += ["--checkpoints", str(folder / "checkpoints"), "--module", str(folder / "subject.py")]
    command += ["--logdir", str(log), *options]
    start = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = 0

    def look() -> None:
        nonlocal peak
        while running.poll() is None:
            peak = max(peak, together(running.pid))
            time.sleep(LOOK_SECONDS)

    looking = threading.Thread(target=look)
    looking.start()
    said, complained = running.communicate()
    looking.join()
    if running.returncode:
        sys.exit(complained)
    (found,) = json.loads(said)["slices"]
    header = found["header"]
    return {
        "seconds": time.perf_counter() - start,
        "peak": peak,
        "explained": sum(direction["explained_variance"] for direction in header["directions"]),
        "steps": len(header["trajectory"]["steps"]),
        "strategy": f"{header['evaluation']['strategy']}, {header['evaluation'].get('workers', 1)} workers",
    }


def number(text: str) -> int:
    """`50M` or a plain number."""
    return int(float(text.rstrip("KM")) * {"K": 10**3, "M": 10**6}.get(text[-1], 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=number, default="50M", help="about how many, as in 50M (the default)")
    parser.add_argument("--checkpoints", type=int, default=100)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the files")
    parser.add_argument("--grid", type=int, default=3, help="points along each of the two axes")
    parser.add_argument("--strategy", default="auto", help="of the command")
    parser.add_argument("--folder", type=Path, help="where checkpoints are kept, and taken from if they are there")
    given = parser.parse_args()
    width = int((given.parameters / LAYERS) ** 0.5)
    with tempfile.TemporaryDirectory() as name:
        folder = given.folder or Path(name)
        if not (folder / "checkpoints").exists():
            (folder / "checkpoints").mkdir(parents=True)
            for step, weights in enumerate(walk(width, given.checkpoints)):
                kept = {key: tensor.to(getattr(torch, given.dtype)) for key, tensor in weights.items()}
                save_file(kept, folder / "checkpoints" / f"step-{step:04d}.safetensors")
        (folder / "subject.py").write_text(SUBJECT.format(width=width, layers=LAYERS))
        size = sum(path.stat().st_size for path in (folder / "checkpoints").iterdir())
        found = measure(folder, Path(name) / "log", given.grid, ["--strategy", given.strategy])
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads")
    millions = LAYERS * width**2 / 1e6
    print(f"{found['steps']} checkpoints of {millions:.1f} M parameters, {size / 1e9:.1f} GB in {given.dtype}")
    print(f"peak {found['peak'] / 1e9:.2f} GB, of 2 GB allowed")
    print(f"{found['seconds']:.0f} s with {given.grid}x{given.grid} points ({found['strategy']})")
    print(f"explained variance of both components {found['explained']:.3f}")
    if found["peak"] > 2e9:
        raise SystemExit("above the limit")


if __name__ == "__main__":
    main()
