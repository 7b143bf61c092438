"""Chunks of points that always have the same number of them, for code that is made for one shape."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from slicer_core.evaluate.shortage import MemoryShortageError, is_shortage
from slicer_core.evaluate.strategies.kernel import ChunkTerms
from slicer_core.evaluate.strategies.partial_vmap import PartialVmapKernel
from slicer_core.subject import Batch


class FullChunksKernel(PartialVmapKernel):
    """Of a chunk that is not full, the last point is evaluated several times."""

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`."""
        count = points.stop - points.start
        while True:
            found = self._terms_if_filled_up_fits(batch, points)
            if found is not None:
                return found
            self._full_chunk = max(count, self._full_chunk // 2)

    @abstractmethod
    def _of_full_chunk(self, coefficients: Tensor) -> tuple[Tensor, ...]:
        """The results at as many points as there are in each chunk, of shape (points, *its own) each."""

    def _moved(self, coefficients: Tensor) -> tuple[Tensor, ...]:
        count = len(coefficients)
        missing = self._full_chunk - count
        full = coefficients if missing <= 0 else torch.cat([coefficients, coefficients[-1:].expand(missing, -1)])
        return tuple(rows[:count] for rows in self._of_full_chunk(full))

    def _terms_if_filled_up_fits(self, batch: Batch, points: slice) -> ChunkTerms | None:
        """None where memory did not suffice for a full chunk, and may for fewer points."""
        try:
            return super().terms(batch, points)
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, MemoryShortageError) or not is_shortage(error):
                raise
            if self._full_chunk <= points.stop - points.start:
                raise
        return None
