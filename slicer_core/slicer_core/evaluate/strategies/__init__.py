"""Ways to run the points of a block; all give the same numbers up to rounding."""

from slicer_core.evaluate.strategies.kernel import CannotEvaluateError, Kernel
from slicer_core.evaluate.strategies.loop import LoopKernel
from slicer_core.evaluate.strategies.partial import PartialKernel, Session, Traces, bytes_a_sample
from slicer_core.evaluate.strategies.partial_compiled import PartialCompiledKernel
from slicer_core.evaluate.strategies.partial_vmap import PartialVmapKernel
from slicer_core.evaluate.strategies.partial_vmap_compiled import PartialVmapCompiledKernel
from slicer_core.evaluate.strategies.parts import PartsKernel, terms_if_they_fit
from slicer_core.evaluate.strategies.vmap import VmapKernel

__all__ = [
    "CannotEvaluateError",
    "Kernel",
    "LoopKernel",
    "PartialCompiledKernel",
    "PartialKernel",
    "PartialVmapCompiledKernel",
    "PartialVmapKernel",
    "PartsKernel",
    "Session",
    "Traces",
    "VmapKernel",
    "bytes_a_sample",
    "terms_if_they_fit",
]
