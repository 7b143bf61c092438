"""Partial evaluation of chunks of points, compiled: for small networks and jobs that are long all the same."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, fx
from torch.func import vmap

from slicer_core.evaluate.prologue import Components
from slicer_core.evaluate.shortage import MemoryShortageError, is_shortage
from slicer_core.evaluate.strategies.compiling import general_module, in_this_process, read_constants
from slicer_core.evaluate.strategies.kernel import ChunkTerms
from slicer_core.evaluate.strategies.partial_vmap import PartialVmapKernel
from slicer_core.subject import Batch


class PartialVmapCompiledKernel(PartialVmapKernel):
    """As `PartialVmapKernel`; raises what the compiler raises, and the evaluator goes on without it."""

    def make_epilogue(self, frontier: Mapping[fx.Node, Components]) -> None:
        """See `PartialKernel`."""
        super().make_epilogue(frontier)
        constants = read_constants(self.parts)
        known, key = self._session.traces.compiled, (type(self), *self.key)
        if key not in known:
            module = general_module(self.trace, self.parts, list(frontier))
            known[key] = torch.compile(vmap(module, in_dims=(*[0] * len(frontier), *[None] * len(constants))))
        self._moved_at = known[key]
        self._fixed = [self.constants[node] for node in constants]

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`."""
        count = points.stop - points.start
        while True:
            found = self._terms_if_filled_up_fits(batch, points)
            if found is not None:
                return found
            self._full_chunk = max(count, self._full_chunk // 2)

    def _terms_if_filled_up_fits(self, batch: Batch, points: slice) -> ChunkTerms | None:
        """None where memory did not suffice for a full chunk, and may for fewer points."""
        try:
            with in_this_process():
                return super().terms(batch, points)
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, MemoryShortageError) or not is_shortage(error):
                raise
            if self._full_chunk <= points.stop - points.start:
                raise
        return None

    def _moved(self, coefficients: Tensor) -> tuple[Tensor, ...]:
        """Of a chunk that is not full, the last point is evaluated several times: another shape is compiled again."""
        count = len(coefficients)
        missing = self._full_chunk - count
        full = coefficients if missing <= 0 else torch.cat([coefficients, coefficients[-1:].expand(missing, -1)])
        return tuple(rows[:count] for rows in self._moved_at(*self._chunks.at(full).values(), *self._fixed))
