"""Partial evaluation with the general part compiled by `torch.compile`, which fuses its pointwise operations."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, fx

from slicer_core.evaluate.epilogue import Epilogue
from slicer_core.evaluate.prologue import Components
from slicer_core.evaluate.strategies.compiling import compiler, general_module, read_constants
from slicer_core.evaluate.strategies.partial import PartialKernel


class PartialCompiledKernel(PartialKernel):
    """As `PartialKernel`; raises what the compiler raises, and the evaluator goes on without it."""

    def make_epilogue(self, frontier: Mapping[fx.Node, Components]) -> None:
        """See `PartialKernel`."""
        self._combiner, plain = self._compiled(frontier, "rows")
        nodes = list(self._combiner.views)
        known, key = self._session.traces.compiled, (type(self), *self.key)
        if key not in known:
            with compiler():
                known[key] = torch.compile(general_module(self.trace, self.parts, nodes), dynamic=None)
        compiled = known[key]
        given = [self._combiner.views[node] for node in nodes]
        fixed = [self.constants[node] for node in read_constants(self.parts)]

        def run() -> tuple[Tensor, ...]:
            return compiled(*given, *fixed)

        with compiler():
            run()
        self._epilogue = Epilogue(run=run, results=plain.results)
