"""Ways to run the points of a block; all give the same numbers up to rounding."""

from slicer_core.evaluate.strategies.kernel import CannotEvaluateError, Kernel
from slicer_core.evaluate.strategies.loop import LoopKernel
from slicer_core.evaluate.strategies.partial import PartialKernel, Session, Traces, bytes_a_sample, split_batch
from slicer_core.evaluate.strategies.vmap import VmapKernel

__all__ = [
    "CannotEvaluateError",
    "Kernel",
    "LoopKernel",
    "PartialKernel",
    "Session",
    "Traces",
    "VmapKernel",
    "bytes_a_sample",
    "split_batch",
]
