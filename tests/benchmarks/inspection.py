"""How long `loss-slicer inspect` takes over a large checkpoint, and the memory of its process.

The command reads headers, so neither should grow with the file. It is a process of its own each time, with the time of
its start; its largest resident set is what the system counted. That begins with what this process has, so this one
imports no torch, and files are written by another.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

TENSORS = 400
FILES = 4
ALLOWED_SECONDS = 0.5
ALLOWED_BYTES = 300e6


def write(folder: Path, num_bytes: int) -> None:
    """The same tensors in one file and in several with an index."""
    import torch
    from safetensors.torch import save_file

    width = round((num_bytes / 4 / TENSORS) ** 0.5)
    tensors = {f"layers.{index}.weight": torch.zeros(width, width) for index in range(TENSORS)}
    save_file(tensors, folder / "step-1.safetensors")
    whole = folder / "checkpoint-2"
    whole.mkdir()
    names = list(tensors)
    places = {}
    for part in range(FILES):
        file = f"model-{part + 1:05}-of-{FILES:05}.safetensors"
        save_file({name: tensors[name] for name in names[part::FILES]}, whole / file)
        places |= dict.fromkeys(names[part::FILES], file)
    (whole / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def inspected(path: Path) -> tuple[float, float, int]:
    """Seconds of one call, those that a processor worked for it, and the bytes of its process at their most."""
    start = time.perf_counter()
    running = subprocess.Popen([sys.executable, "-m", "loss_slicer", "inspect", str(path)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(running.pid, 0)
    seconds = time.perf_counter() - start
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"the command ended with {running.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write is not None:
        write(given.write, int(given.gigabytes * 1e9))
        return
    load = os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the start")
    print(f"Python {platform.python_version()}, torch {version('torch')}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--write", name], check=True)
        cases = {"one file": "step-1.safetensors", f"{FILES} files with an index": "checkpoint-2"}
        for case, path in cases.items():
            found = [inspected(folder / path) for _ in range(given.repeats)]
            seconds, worked = ([entry[index] for entry in found] for index in (0, 1))
            peak = max(entry[2] for entry in found)
            middle = statistics.median(seconds)
            missed = middle > ALLOWED_SECONDS or peak > ALLOWED_BYTES
            wanted = f"wanted {ALLOWED_SECONDS} s, {ALLOWED_BYTES / 1e6:.0f} MB{', missed' * missed}"
            print(
                f"{given.gigabytes:g} GB in {case}: {middle:.2f} s ({min(seconds):.2f}-{max(seconds):.2f}), of which "
                f"{statistics.median(worked):.2f} s of a processor, peak {peak / 1e6:.0f} MB; {wanted}"
            )


if __name__ == "__main__":
    main()
