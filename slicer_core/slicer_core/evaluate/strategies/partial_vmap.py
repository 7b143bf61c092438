"""Partial evaluation with the general part run over a chunk of points at once, by `torch.func.vmap`.

For networks so small that starting an operation costs more than the operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx
from torch.func import vmap

from slicer_core.evaluate.combine import ChunkCombiner
from slicer_core.evaluate.epilogue import moving_results
from slicer_core.evaluate.partition import Partition
from slicer_core.evaluate.prologue import Components, Values, call
from slicer_core.evaluate.strategies.batching import quiet_batching
from slicer_core.evaluate.strategies.kernel import CannotEvaluateError, ChunkTerms
from slicer_core.evaluate.strategies.partial import PartialKernel
from slicer_core.subject import Batch

# What is combined for a chunk stays about this large: on a CPU activations have to fit a cache, elsewhere the work of
# an operation should outweigh its start.
_CHUNK_BYTES = {"cpu": 8 * 2**20}
_CHUNK_BYTES_ELSEWHERE = 128 * 2**20
_CHUNK_POINTS = 256


class PartialVmapKernel(PartialKernel):
    """Needs a batching rule for each general operation; a model that lacks one raises, and the evaluator goes on."""

    in_chunks = True

    def make_epilogue(self, frontier: Mapping[fx.Node, Components]) -> None:
        """See `PartialKernel`."""
        if self.objective.is_reduced:
            raise CannotEvaluateError("chunks of points are combined in the model's own precision")
        self._chunks = ChunkCombiner(frontier)
        point_bytes = sum(parts[0].nbytes for parts in frontier.values())
        self._results = moving_results(self.trace, self.parts)
        limit = _CHUNK_BYTES.get(self.objective.device.type, _CHUNK_BYTES_ELSEWHERE)
        self._full_chunk = max(1, min(_CHUNK_POINTS, limit // max(1, point_bytes)))

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`."""
        self.prepare(batch)
        count = points.stop - points.start
        coefficients = torch.from_numpy(self.coefficients[points]).to(self.objective.device)
        return self.collected(dict(zip(self._results, self._moved(coefficients), strict=True)), count)

    def chunk_size(self, batch: Batch) -> int:
        """Bounded by the bytes of the frontier, of which activations are a few times as many."""
        self.prepare(batch)
        return self._full_chunk

    def trial_size(self, batch: Batch) -> int:
        """A whole chunk: that many at once are the point of it."""
        return self.chunk_size(batch)

    def _moved(self, coefficients: Tensor) -> tuple[Tensor, ...]:
        """The results at the points, in the order of `_results`, each of shape (points, *its own)."""
        return general_part(self._chunks.at(coefficients), self.parts, self.constants, self._results)


def general_part(
    values: Mapping[fx.Node, Tensor], parts: Partition, constants: Values, results: Sequence[fx.Node]
) -> tuple[Tensor, ...]:
    """The results at many points, each of shape (points, *its own), from the frontier's values there."""
    nodes = list(values)

    def at_point(*given: Tensor) -> tuple[Tensor, ...]:
        found: Values = dict(zip(nodes, given, strict=True))
        for node in parts.general:
            found[node] = call(node, lambda entry: found[entry] if entry in found else constants[entry])
        return tuple(found[node] for node in results)

    with quiet_batching():
        return vmap(at_point)(*values.values())
