"""One point after another. Works for every model; the others are held against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from slicer_core.errors import DataError
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.strategies.kernel import ChunkTerms, Kernel
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch

# Collected terms of a chunk stay below this, whatever the batch.
_CHUNK_BYTES = 32 * 2**20
_CHUNK_POINTS = 64


class LoopKernel(Kernel):
    """θ of each point is rebuilt from the center into buffers made once, never moved by increments."""

    def __init__(
        self,
        objective: Objective,
        center: NamedTensors,
        block: PointBlock,
        buffers: Sequence[NamedTensors] | None = None,
    ) -> None:
        super().__init__(objective, center, block, buffers)
        self._restored = [name for name in self.center if name in objective.written and name not in self.varying]
        replaced = {*self.varying, *self._restored, *(buffers[0] if buffers else ())}
        self._held = {name: tensor.clone() if name in replaced else tensor for name, tensor in self.held.items()}
        self._shared = {name: tensor for name, tensor in self._held.items() if name not in replaced}
        # Where weights are combined in another precision than the model's, they need a place of their own.
        self._sums = (
            {name: torch.empty_like(self.center[name]) for name in self.varying} if objective.is_reduced else {}
        )

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`.

        Raises:
            DataError: the entries of a batch are not as many at each point, or see `Objective.leaving_alone`.
        """
        collected: dict[str, list[tuple[Tensor, Tensor]]] = {}

        def visit() -> None:
            for point in range(points.start, points.stop):
                self.move_to(point)
                for name, terms in self.objective.terms(batch).items():
                    collected.setdefault(name, []).append((terms.sums, terms.counts))

        with self.objective.leaving_alone(self._shared, batch):
            self.objective.holding(self._held, visit)
        for name, rows in collected.items():
            if len({terms.shape for row in rows for terms in row}) > 1:
                raise DataError(
                    f"the {name} of a batch has another number of entries at other parameters: return one a sample"
                )
        return {
            name: (torch.stack([sums for sums, _ in rows]), torch.stack([counts for _, counts in rows]))
            for name, rows in collected.items()
        }

    def after_passes(self, point: int, batches: Iterable[Batch], names: Sequence[str]) -> dict[str, Tensor]:
        """Copies of the named buffers after the model has seen the batches at the point."""

        def visit() -> None:
            self.move_to(point)
            for batch in batches:
                self.objective.terms(batch)

        self.objective.holding(self._held, visit)
        return {name: self._held[name].clone() for name in names}

    def move_to(self, point: int) -> None:
        """Builds the point's tensors."""
        for name in self._restored:
            self._held[name].copy_(self.center[name])
        if self.buffers is not None:
            for name, tensor in self.buffers[point].items():
                self._held[name].copy_(tensor)
        for name in self.varying:
            total = self._sums.get(name, self._held[name]).copy_(self.center[name])
            for direction, coefficient in zip(self.directions, self.coefficients[point].tolist(), strict=True):
                if coefficient and name in direction:
                    total.add_(direction[name], alpha=coefficient)
            if self._sums:
                self._held[name].copy_(total)

    def chunk_size(self, batch: Batch) -> int:
        """Bounded by the bytes of the collected terms: sums and counts, in float32 and float64."""
        return max(1, min(_CHUNK_POINTS, _CHUNK_BYTES // (24 * max(1, batch.num_samples))))
