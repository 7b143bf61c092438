"""Out of memory, and how it shows."""

from __future__ import annotations

import torch

# In the texts of errors that are of no class of their own: torch's allocator on a CPU, and what CUDA and its libraries
# say where they take memory themselves.
_TEXTS = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


class MemoryShortageError(Exception):
    """A chunk or a prologue needs more memory than there is, or than the budget allows."""


def shortage_message(num_samples: int) -> str:
    """What to tell where no smaller piece is left."""
    return (
        f"one point on a batch of {num_samples} samples does not fit the memory: give a smaller --batch-size, a larger "
        "--memory-budget if there is more, or another --device"
    )


def is_shortage(error: BaseException) -> bool:
    """Whether an error means that memory could not be had, from any of torch's allocators."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (MemoryError, torch.OutOfMemoryError, MemoryShortageError)):
            return True
        if isinstance(seen, RuntimeError) and any(text in str(seen) for text in _TEXTS):
            return True
        seen = seen.__cause__
    return False
