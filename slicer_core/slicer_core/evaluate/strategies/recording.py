"""Work that a device records once and starts again as a whole: it reads and writes the same memory each time.

Starting an operation on a GPU costs a few microseconds of the processor, which in a small network is more than the
operation takes. A recorded graph starts all of them at once. https://docs.pytorch.org/docs/stable/notes/cuda.html
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from slicer_core.evaluate.strategies.kernel import CannotEvaluateError

Run = Callable[[], tuple[Tensor, ...]]
Recorder = Callable[[Run, torch.device, Callable[[], None]], Run]
"""What a kind of device records by; arguments and errors are those of `recorded`."""

# Before it is recorded, a run has to make what libraries make at their first call.
_WARM_UPS = 2
# A recording that fails leaves torch's allocator as if it went on in older ones.
_OLDEST_TORCH = "2.13"


def recorded(run: Run, device: torch.device, reset: Callable[[], None] = lambda: None) -> Run:
    """`run` as it is from now on, without the Python in it: on the same memory, and giving the same tensors each time.

    `reset` puts back what a run writes over, so that the runs before the recording have what any other has.

    Raises:
        CannotEvaluateError: the device can't record.
        RuntimeError: something in `run` waits for the device, or memory does not suffice.
    """
    if device.type not in RECORDERS:
        raise CannotEvaluateError(f"CUDA graphs need a CUDA device, and the model is on {device.type}")
    return RECORDERS[device.type](run, device, reset)


class _CudaGraph:
    """A recorded graph, with what holds the memory that it reads."""

    # Why the last recording failed after it was begun, which a process may not get over.
    failure: str | None = None

    def __init__(self, run: Run, device: torch.device, reset: Callable[[], None]) -> None:
        if TorchVersion(torch.__version__) < TorchVersion(_OLDEST_TORCH):
            raise CannotEvaluateError(f"CUDA graphs are used from torch 2.13 on, and this is {torch.__version__}")
        if _CudaGraph.failure is not None:
            raise CannotEvaluateError(f"an earlier recording in this process failed: {_CudaGraph.failure}")
        self._run = run
        with torch.cuda.device(device):
            # Nothing may be recorded on the default stream.
            current, stream = torch.cuda.current_stream(), _side_stream(torch.cuda.current_device())
            stream.wait_stream(current)
            try:
                with torch.cuda.stream(stream):
                    for _ in range(_WARM_UPS):
                        reset()
                        run()
                    reset()
                    # What waits is found before anything is recorded.
                    with _refusing_to_wait():
                        run()
            finally:
                current.wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            try:
                # What other threads do meanwhile, a loader of data say, is no business of the graph's.
                with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                    self._results = run()
            except BaseException as error:
                _CudaGraph.failure = str(error).partition("\n")[0] or type(error).__name__
                raise
            finally:
                # torch leaves its own as the current one where the end of a recording fails.
                torch.cuda.set_stream(current)

    def __call__(self) -> tuple[Tensor, ...]:
        self._graph.replay()
        return self._results


@functools.cache
def _side_stream(device_index: int) -> torch.cuda.Stream:
    """One for all recordings: cuBLAS keeps a workspace for each stream that it was used on."""
    return torch.cuda.Stream(device_index)


@contextlib.contextmanager
def _refusing_to_wait() -> Iterator[None]:
    """What waits for the device raises RuntimeError."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        # Of the mode itself, which torch calls a prototype.
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


RECORDERS: dict[str, Recorder] = {"cuda": _CudaGraph}
"""By the type of the device."""
