"""What the numbers depend on: the machine, its rates as this process measures them, and a clock that waits for CUDA."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_SIZE = {"cpu": 1024, "cuda": 8192}
_BANDWIDTH_BYTES = {"cpu": 2**28, "cuda": 2**31}
_TRIES = 20


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A device, and what it is called."""

    device: torch.device
    processor: str
    tuned: bool

    def clock(self) -> float:
        """Seconds, after everything that was started on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def seconds(self, run: Callable[[], object]) -> float:
        """How long one call takes."""
        start = self.clock()
        run()
        return self.clock() - start

    def matrix_rate(self, dtype: torch.dtype) -> float:
        """Operations a second of the product of two square matrices, the best of several."""
        size = _SIZE[self.device.type]
        left, right = (torch.randn(size, size, device=self.device).to(dtype) for _ in range(2))
        return 2 * size**3 / min(self.seconds(lambda: left @ right) for _ in range(_TRIES))

    def bandwidth(self) -> float:
        """Bytes read and written a second by a copy of much memory, the best of several."""
        source = torch.zeros(_BANDWIDTH_BYTES[self.device.type], dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        return 2 * source.nbytes / min(self.seconds(lambda: target.copy_(source)) for _ in range(_TRIES))

    def describe(self) -> dict[str, object]:
        """Everything that a reader needs to judge the numbers by."""
        return {
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "processor": self.processor,
            "threads": torch.get_num_threads(),
            "allocator": "tuned" if self.tuned else "default",
            "python": platform.python_version(),
            "torch": torch.__version__,
            "platform": platform.platform(),
        }


def this_machine(device: str, *, tuned: bool) -> Machine:
    """The machine, with products of float32 in float32; with `tuned`, glibc keeps freed memory, as in the command."""
    if tuned:
        from loss_slicer.allocator import keep_freed_memory

        keep_freed_memory()
    # torch lets cuDNN round to TF32 by default; loop and engine are to do the same work.
    torch.backends.cudnn.allow_tf32 = False
    return Machine(device=torch.device(device), processor=_processor(), tuned=tuned)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
