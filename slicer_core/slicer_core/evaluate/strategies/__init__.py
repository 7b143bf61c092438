"""Ways to run the points of a block; all give the same numbers up to rounding."""

from slicer_core.evaluate.strategies.kernel import TRIAL_POINTS, CannotEvaluateError, Kernel
from slicer_core.evaluate.strategies.loop import LoopKernel
from slicer_core.evaluate.strategies.partial import PartialKernel, Session, Traces
from slicer_core.evaluate.strategies.partial_compiled import PartialCompiledKernel
from slicer_core.evaluate.strategies.partial_vmap import PartialVmapKernel
from slicer_core.evaluate.strategies.partial_vmap_compiled import PartialVmapCompiledKernel
from slicer_core.evaluate.strategies.parts import PartsKernel, terms_if_they_fit
from slicer_core.evaluate.strategies.vmap import VmapKernel

__all__ = [
    "TRIAL_POINTS",
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
    "terms_if_they_fit",
]
