"""Ways to run the points of a block; all give the same numbers up to rounding."""

from slicer_core.evaluate.strategies.kernel import FAILURES, CannotEvaluateError, Kernel
from slicer_core.evaluate.strategies.loop import LoopKernel
from slicer_core.evaluate.strategies.partial import PartialKernel, Session, Traces
from slicer_core.evaluate.strategies.partial_compiled import PartialCompiledKernel
from slicer_core.evaluate.strategies.partial_cudagraph import PartialCudaGraphKernel
from slicer_core.evaluate.strategies.partial_kinds import PARTIAL_KINDS
from slicer_core.evaluate.strategies.partial_native import PartialNativeKernel
from slicer_core.evaluate.strategies.partial_vmap import PartialVmapKernel
from slicer_core.evaluate.strategies.partial_vmap_compiled import PartialVmapCompiledKernel
from slicer_core.evaluate.strategies.partial_vmap_cudagraph import PartialVmapCudaGraphKernel
from slicer_core.evaluate.strategies.partial_winograd import PartialWinogradKernel
from slicer_core.evaluate.strategies.parts import PartsKernel, terms_if_they_fit
from slicer_core.evaluate.strategies.recording import RECORDERS
from slicer_core.evaluate.strategies.vmap import VmapKernel

__all__ = [
    "FAILURES",
    "PARTIAL_KINDS",
    "RECORDERS",
    "CannotEvaluateError",
    "Kernel",
    "LoopKernel",
    "PartialCompiledKernel",
    "PartialCudaGraphKernel",
    "PartialKernel",
    "PartialNativeKernel",
    "PartialVmapCompiledKernel",
    "PartialVmapCudaGraphKernel",
    "PartialVmapKernel",
    "PartialWinogradKernel",
    "PartsKernel",
    "Session",
    "Traces",
    "VmapKernel",
    "terms_if_they_fit",
]
