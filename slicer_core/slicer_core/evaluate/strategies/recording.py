"""Work that a device records once and starts again as a whole: it reads and writes the same memory each time.

Starting an operation on a GPU costs a few microseconds of the processor, which in a small network is more than the
operation takes. A recorded graph starts all of them at once. https://docs.pytorch.org/docs/stable/notes/cuda.html
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from slicer_core.evaluate.strategies.kernel import CannotEvaluateError

Run = Callable[[], tuple[Tensor, ...]]

# Before it is recorded, a run has to make what libraries make at their first call.
_WARM_UPS = 2


def recorded(run: Run, device: torch.device) -> Run:
    """`run` as it is from now on, without the Python in it: on the same memory, and giving the same tensors each time.

    Raises:
        CannotEvaluateError: the device can't record.
        RuntimeError: something in `run` waits for the device, or memory does not suffice.
    """
    if device.type not in RECORDERS:
        raise CannotEvaluateError(f"CUDA graphs need a CUDA device, and the model is on {device.type}")
    return RECORDERS[device.type](run, device)


class _CudaGraph:
    """A recorded graph, with what holds the memory that it reads."""

    def __init__(self, run: Run, device: torch.device) -> None:
        self._run = run
        with torch.cuda.device(device):
            # Nothing may be recorded on the default stream.
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    run()
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            # What other threads do meanwhile, a loader of data say, is no business of the graph's.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._results = run()

    def __call__(self) -> tuple[Tensor, ...]:
        self._graph.replay()
        return self._results


RECORDERS: dict[str, Callable[[Run, torch.device], Run]] = {"cuda": _CudaGraph}
"""By the type of the device."""
