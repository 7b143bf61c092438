"""Ways to run the points of a block; all give the same numbers up to rounding."""

from slicer_core.evaluate.strategies.kernel import Kernel
from slicer_core.evaluate.strategies.loop import LoopKernel
from slicer_core.evaluate.strategies.vmap import VmapKernel

STRATEGIES: dict[str, type[Kernel]] = {
    "loop": LoopKernel,
    "vmap": VmapKernel,
}

__all__ = ["STRATEGIES", "Kernel", "LoopKernel", "VmapKernel"]
