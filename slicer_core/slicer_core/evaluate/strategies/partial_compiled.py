"""Partial evaluation with the general part compiled by `torch.compile`, which fuses its pointwise operations.

Compiling takes seconds to minutes, so it is for jobs that are much longer; torch keeps what it compiled in a cache of
its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, fx

from slicer_core.evaluate.epilogue import Epilogue, moving_results
from slicer_core.evaluate.prologue import Components
from slicer_core.evaluate.strategies.partial import PartialKernel


class PartialCompiledKernel(PartialKernel):
    """As `PartialKernel`; raises what the compiler raises, and the evaluator goes on without it."""

    def make_epilogue(self, frontier: Mapping[fx.Node, Components]) -> None:
        """See `PartialKernel`."""
        self._combiner, plain = self._compiled(frontier, "rows")
        nodes = list(self._combiner.views)
        compiled = self._session.traces.compiled.get(self.key)
        if compiled is None:
            module = fx.GraphModule(torch.nn.Module(), self._graph(nodes))
            compiled = torch.compile(module, dynamic=None)
            self._session.traces.compiled[self.key] = compiled
        given = [self._combiner.views[node] for node in nodes]
        fixed = [self.constants[node] for node in self._read_constants()]

        def run() -> tuple[Tensor, ...]:
            return compiled(*given, *fixed)

        with _in_this_process():
            run()
        self._epilogue = Epilogue(run=run, results=plain.results)

    def _read_constants(self) -> list[fx.Node]:
        """The constants that the general part reads, in order."""
        inputs = (entry for node in self.parts.general for entry in node.all_input_nodes)
        return [node for node in dict.fromkeys(inputs) if node in self.constants]

    def _graph(self, nodes: list[fx.Node]) -> fx.Graph:
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        for index, node in enumerate((*nodes, *self._read_constants())):
            copies[node] = graph.placeholder(f"given_{index}")
        for node in self.parts.general:
            copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(tuple(copies[node] for node in moving_results(self.trace, self.parts)))
        return graph


@contextlib.contextmanager
def _in_this_process() -> Iterator[None]:
    """Without the compiler's pool of processes, which would outlive the evaluation."""
    import torch._inductor.config as inductor

    with inductor.patch(compile_threads=1):
        yield
