"""Partial evaluation of chunks of points as a CUDA graph, from the coefficients to the losses."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, fx

from slicer_core.evaluate.prologue import Components
from slicer_core.evaluate.strategies.full_chunks import FullChunksKernel
from slicer_core.evaluate.strategies.partial_vmap import general_part
from slicer_core.evaluate.strategies.recording import Run, recorded


class PartialVmapCudaGraphKernel(FullChunksKernel):
    """As `PartialVmapKernel`; raises what recording raises, and the evaluator goes on without it."""

    def make_epilogue(self, frontier: Mapping[fx.Node, Components]) -> None:
        """See `PartialKernel`."""
        super().make_epilogue(frontier)
        self._place: Tensor | None = None
        self._replay: Run | None = None

    def _of_full_chunk(self, coefficients: Tensor) -> tuple[Tensor, ...]:
        if self._replay is None or self._place is None or self._place.shape != coefficients.shape:
            # An earlier one's memory is let go first.
            self._replay = None
            self._place = coefficients.clone()
            self._replay = recorded(self._run_at(self._place), self.objective.device)
        self._place.copy_(coefficients)
        # The next chunk is written where this one's results lie.
        return tuple(rows.clone() for rows in self._replay())

    def _run_at(self, place: Tensor) -> Run:
        # A reference to this kernel would keep the graph's memory until the next collection of cycles.
        chunks, parts, constants, results = self._chunks, self.parts, self.constants, self._results
        return lambda: general_part(chunks.at(place), parts, constants, results)
