"""A recorder for the CPU that does what a CUDA graph does: the same operations again, on the same memory.

No Python of the recorded function runs again, numbers stay what they were, and results are written where they lay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

Run = Callable[[], tuple[Tensor, ...]]


class _Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "waits for the device"
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result


class Tape:
    """To stand among the `RECORDERS`; `made` and `replays` count what was done with it."""

    def __init__(self) -> None:
        self.made = self.replays = 0

    def __call__(self, run: Run, device: torch.device, reset: Callable[[], None]) -> Run:
        reset()
        run()
        reset()
        with _Recording() as recording:
            results = run()
        self.made += 1

        # Who recorded holds what was recorded, whose memory is read.
        def replay(held: Run = run) -> tuple[Tensor, ...]:
            self.replays += 1
            for func, args, kwargs, result in recording.calls:
                again = func(*args, **kwargs)
                for place, value in zip(pytree.tree_leaves(result), pytree.tree_leaves(again), strict=True):
                    if isinstance(place, Tensor) and place.data_ptr() != value.data_ptr():
                        place.copy_(value)
            return results

        return replay
