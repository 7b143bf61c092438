"""Partial evaluation with convolutions of 3 by 3 by Winograd's minimal filtering; see `winograd`."""

from __future__ import annotations

import functools
from typing import ClassVar

from slicer_core.evaluate.combine import Combiner
from slicer_core.evaluate.replaced import Replacing
from slicer_core.evaluate.strategies.kernel import CannotEvaluateError, ChunkTerms
from slicer_core.evaluate.strategies.loop import LoopKernel
from slicer_core.evaluate.strategies.partial import PartialKernel
from slicer_core.evaluate.tiled import may_have_tiles, tiled_convolutions
from slicer_core.subject import Batch


class PartialWinogradKernel(PartialKernel):
    """As `PartialKernel`, but for points whose terms are not all finite, which the loop runs.

    Sums of a tile's inputs may overflow where none of its outputs does; the whole image is NaN then.
    """

    has_tiles: ClassVar[bool] = True

    def prepare(self, batch: Batch) -> None:
        """See `PartialKernel`.

        Raises:
            CannotEvaluateError: no convolution of the model is one that tiles may pay for, or the loss has no graph.
        """
        super().prepare(batch)
        if not any(map(may_have_tiles, self.trace.nodes)):
            raise CannotEvaluateError("there is no convolution of 3 by 3 with stride 1 that tiles would pay for")

    def replacing(self, memory: int, combiner: Combiner) -> Replacing:
        """See `PartialKernel`."""
        return functools.partial(tiled_convolutions, memory=memory)

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`."""
        found = super().terms(batch, points)
        lost = [
            row
            for row in range(points.stop - points.start)
            if not all(sums[row].isfinite().all() for sums, _ in found.values())
        ]
        if not lost:
            return found
        found = {name: (sums.clone(), counts.clone()) for name, (sums, counts) in found.items()}
        loop = LoopKernel(self.objective, self.center, self.block)
        for row in lost:
            point = points.start + row
            for name, (sums, counts) in loop.terms(batch, slice(point, point + 1)).items():
                found[name][0][row], found[name][1][row] = sums[0], counts[0]
        return found
