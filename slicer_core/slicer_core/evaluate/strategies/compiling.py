"""What the strategies share that compile the general part of a graph by `torch.compile`.

Compiling takes seconds to minutes, so it is for jobs that are much longer; torch keeps what it compiled in a cache of
its own.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence

from torch import fx, nn

from slicer_core.evaluate.epilogue import moving_results
from slicer_core.evaluate.partition import Partition
from slicer_core.evaluate.trace import Trace


def read_constants(parts: Partition) -> list[fx.Node]:
    """The constants that the general part reads, in order."""
    inputs = (entry for node in parts.general for entry in node.all_input_nodes)
    known = set(parts.constants)
    return [node for node in dict.fromkeys(inputs) if node in known]


def general_module(trace: Trace, parts: Partition, frontier: Sequence[fx.Node]) -> fx.GraphModule:
    """The general part as a function of the frontier's values, and then of `read_constants`; gives `moving_results`."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for index, node in enumerate((*frontier, *read_constants(parts))):
        copies[node] = graph.placeholder(f"given_{index}")
    for node in parts.general:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in moving_results(trace, parts)))
    return fx.GraphModule(nn.Module(), graph)


@contextlib.contextmanager
def compiler() -> Iterator[None]:
    """Around what has something compiled, which may be the first call of it.

    Without the compiler's pool of processes, which would outlive the evaluation. What it warns of is its own: it sees
    no code of the user's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch._inductor.config as inductor

        with inductor.patch(compile_threads=1):
            yield
