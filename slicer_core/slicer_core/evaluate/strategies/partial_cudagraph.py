"""Partial evaluation with the general part as a CUDA graph over the fixed buffers that a point is written into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import fx

from slicer_core.choices import Layout
from slicer_core.evaluate.combine import Combiner
from slicer_core.evaluate.epilogue import Epilogue
from slicer_core.evaluate.prologue import Components
from slicer_core.evaluate.strategies.partial import PartialKernel
from slicer_core.evaluate.strategies.recording import recorded


class PartialCudaGraphKernel(PartialKernel):
    """As `PartialKernel`; raises what recording raises, and the evaluator goes on without it."""

    def _compiled(self, frontier: Mapping[fx.Node, Components], layout: Layout) -> tuple[Combiner, Epilogue]:
        combiner, plain = super()._compiled(frontier, layout)
        center = [0.0] * len(self.directions)
        run = recorded(plain.run, self.objective.device, reset=lambda: combiner.move_to(center))
        return combiner, replace(plain, run=run)
