"""Partial evaluation of chunks of points, compiled: for small networks and jobs that are long all the same."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, fx
from torch.func import vmap

from slicer_core.evaluate.prologue import Components
from slicer_core.evaluate.strategies.batching import quiet_batching
from slicer_core.evaluate.strategies.compiling import compiler, general_module, read_constants
from slicer_core.evaluate.strategies.full_chunks import FullChunksKernel


class PartialVmapCompiledKernel(FullChunksKernel):
    """As `PartialVmapKernel`; raises what the compiler raises, and the evaluator goes on without it.

    Another number of points would be compiled again.
    """

    def make_epilogue(self, frontier: Mapping[fx.Node, Components]) -> None:
        """See `PartialKernel`."""
        super().make_epilogue(frontier)
        constants = read_constants(self.parts)
        known, key = self._session.traces.compiled, (type(self), *self.key)
        if key not in known:
            module = general_module(self.trace, self.parts, list(frontier))
            with compiler():
                known[key] = torch.compile(vmap(module, in_dims=(*[0] * len(frontier), *[None] * len(constants))))
        self._moved_at = known[key]
        self._fixed = [self.constants[node] for node in constants]

    def _of_full_chunk(self, coefficients: Tensor) -> tuple[Tensor, ...]:
        with compiler(), quiet_batching():
            return self._moved_at(*self._chunks.at(coefficients).values(), *self._fixed)
