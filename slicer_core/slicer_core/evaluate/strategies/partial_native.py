"""Partial evaluation with what there is in C: see `in_c`, and convolutions of 3 by 3 by tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import fx

from slicer_core.choices import Layout
from slicer_core.evaluate.combine import Combiner
from slicer_core.evaluate.epilogue import moving_results
from slicer_core.evaluate.in_c import Moved, may_be_in_c, operations_in_c
from slicer_core.evaluate.replaced import Forms, Replaced, Replacing
from slicer_core.evaluate.strategies.kernel import CannotEvaluateError, ChunkTerms
from slicer_core.evaluate.strategies.partial import PartialKernel
from slicer_core.evaluate.strategies.partial_winograd import PartialWinogradKernel
from slicer_core.evaluate.tiled import may_have_tiles, tiled_convolutions
from slicer_core.subject import Batch


class PartialNativeKernel(PartialWinogradKernel):
    """As `PartialWinogradKernel`, with `in_c` besides; only where there are tiles does it lose points."""

    # What is in C reads rows.
    layout: ClassVar[Layout | None] = "rows"

    def prepare(self, batch: Batch) -> None:
        """See `PartialKernel`.

        Raises:
            CannotEvaluateError: the model has nothing of it, or the loss has no graph.
        """
        PartialKernel.prepare(self, batch)
        if not any(may_be_in_c(node) or may_have_tiles(node) for node in self.trace.nodes):
            raise CannotEvaluateError("there is nothing that there is in C")

    def replacing(self, memory: int, combiner: Combiner) -> Replacing:
        """See `PartialKernel`."""
        moved = Moved(combiner, moving_results(self.trace, self.parts))

        def found(nodes: Sequence[fx.Node], form: Forms, constants: Mapping[fx.Node, Any]) -> Replaced:
            dense = operations_in_c(nodes, form, constants, memory=memory // 2, moved=moved)
            return {**dense, **tiled_convolutions(nodes, form, constants, memory=memory // 2)}

        return found

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`."""
        self.prepare(batch)
        has_tiles = any(map(may_have_tiles, self.trace.nodes))
        return super().terms(batch, points) if has_tiles else PartialKernel.terms(self, batch, points)
