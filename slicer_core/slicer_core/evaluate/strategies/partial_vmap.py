"""Partial evaluation with the general part run over a chunk of points at once, by `torch.func.vmap`.

For networks so small that starting an operation costs more than the operation.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, fx
from torch.func import vmap

from slicer_core.evaluate.combine import ChunkCombiner
from slicer_core.evaluate.epilogue import moving_results
from slicer_core.evaluate.prologue import Components, Values, call
from slicer_core.evaluate.strategies.kernel import CannotEvaluateError, ChunkTerms
from slicer_core.evaluate.strategies.partial import PartialKernel
from slicer_core.subject import Batch

# Frontier and activations of a chunk stay about this large.
_CHUNK_BYTES = 8 * 2**20
_CHUNK_POINTS = 256


class PartialVmapKernel(PartialKernel):
    """Needs a batching rule for each general operation; a model that lacks one raises, and the evaluator goes on."""

    def make_epilogue(self, frontier: Mapping[fx.Node, Components]) -> None:
        """See `PartialKernel`."""
        if self.objective.is_reduced:
            raise CannotEvaluateError("chunks of points are combined in the model's own precision")
        self._chunks = ChunkCombiner(frontier)
        self._point_bytes = sum(parts[0].nbytes for parts in frontier.values())
        self._results = moving_results(self.trace, self.parts)

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`."""
        self.prepare(batch)
        count = points.stop - points.start
        coefficients = torch.from_numpy(self.coefficients[points]).to(self.objective.device)
        values = self._chunks.at(coefficients)
        nodes = list(values)
        moved = vmap(lambda *given: self._general(dict(zip(nodes, given, strict=True))))(*values.values())
        return self.collected(dict(zip(self._results, moved, strict=True)), count)

    def chunk_size(self, batch: Batch) -> int:
        """Bounded by the bytes of the frontier, of which activations are a few times as many."""
        self.prepare(batch)
        return max(1, min(_CHUNK_POINTS, _CHUNK_BYTES // max(1, self._point_bytes)))

    def trial_size(self, batch: Batch) -> int:
        """A whole chunk: that many at once are the point of it."""
        return self.chunk_size(batch)

    def _general(self, values: Values) -> tuple[Tensor, ...]:
        for node in self.parts.general:
            values[node] = call(node, lambda entry: values[entry] if entry in values else self.constants[entry])
        return tuple(values[node] for node in self._results)
