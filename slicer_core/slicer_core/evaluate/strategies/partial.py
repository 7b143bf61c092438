"""Partial evaluation: what does not move is run once a batch, what moves affinely is combined, the rest is run a point.

See `trace`, `partition`, `prologue`, `cut` and `epilogue`. `CannotEvaluateError` says why it does not apply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree  # the flattening that torch.export itself uses

from slicer_core.evaluate.cut import dear_nodes
from slicer_core.evaluate.epilogue import Combiner, compile_epilogue
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.partition import Partition, partition
from slicer_core.evaluate.prologue import Components, NotAffineError, Values, affine_components, center_values
from slicer_core.evaluate.strategies.kernel import CannotEvaluateError, ChunkTerms, Kernel
from slicer_core.evaluate.trace import NotTraceableError, Trace, Tracer
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch

_CHUNK_BYTES = 32 * 2**20
_CHUNK_POINTS = 256


class Traces:
    """What slices of one model share: its traces, and the partitions that were settled on."""

    def __init__(self) -> None:
        self.tracer = Tracer()
        self.partitions: dict[tuple[Trace, frozenset[str]], Partition] = {}


class Session:
    """What the blocks of one slice share on a batch: its layout, and values that an earlier block needed."""

    def __init__(self, traces: Traces) -> None:
        self.traces = traces
        self._given: Batch | None = None
        self._laid_out: Batch | None = None
        self._values: Values = {}

    def laid_out(self, batch: Batch, objective: Objective) -> Batch:
        """The batch in the layout that the model runs fastest on; a new one lets go of the last one's values."""
        if batch is not self._given or self._laid_out is None:
            self._given, self._laid_out, self._values = batch, _channels_last(batch, objective), {}
        return self._laid_out

    def constants(self, trace: Trace, state: NamedTensors, batch: Batch, parts: Partition) -> Values:
        """The values at the center that the moving part reads."""
        missing = [node for node in parts.constants if node not in self._values]
        if missing:
            self._values |= center_values(trace, state, batch, missing)
        return {node: self._values[node] for node in parts.constants}


class PartialKernel(Kernel):
    """A block on one batch; prologue and code are made when its terms are first asked for."""

    def __init__(
        self,
        objective: Objective,
        center: NamedTensors,
        block: PointBlock,
        buffers: Sequence[NamedTensors] | None = None,
        session: Session | None = None,
    ) -> None:
        super().__init__(objective, center, block, buffers)
        if buffers is not None:
            raise CannotEvaluateError("BatchNorm statistics differ from point to point")
        self._session = session or Session(Traces())
        self.center = {name: _weights_last(tensor, objective) for name, tensor in self.center.items()}
        self._batch: Batch | None = None

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`.

        Raises:
            CannotEvaluateError: the loss has no graph.
        """
        if batch is not self._batch:
            self._prepare(batch)
            self._batch = batch
        count = points.stop - points.start
        rows: dict[fx.Node, Tensor] = {}
        for row, coefficients in enumerate(self.coefficients[points].tolist()):
            self._combiner.move_to(coefficients)
            for node, value in zip(self._epilogue.results, self._epilogue.run(), strict=True):
                if node not in rows:
                    rows[node] = value.new_empty((count, *value.shape))
                rows[node][row].copy_(value)

        def collected(node: fx.Node) -> Tensor:
            return rows[node] if node in rows else self._constants[node].expand(count, -1)

        return {name: (collected(sums), collected(counts)) for name, (sums, counts) in self._trace.outputs.items()}

    def chunk_size(self, batch: Batch) -> int:
        """Bounded by the bytes of the collected terms."""
        return max(1, min(_CHUNK_POINTS, _CHUNK_BYTES // (24 * max(1, batch.num_samples))))

    def _prepare(self, batch: Batch) -> None:
        session, varied = self._session, frozenset(self.varying)
        batch = session.laid_out(batch, self.objective)
        try:
            trace = session.traces.tracer.trace(self.objective, self.center, batch)
        except NotTraceableError as reason:
            raise CannotEvaluateError(str(reason)) from reason
        parts = session.traces.partitions.get((trace, varied))
        if parts is None:
            parts, constants, components = self._settle(trace, batch, varied)
        else:
            constants = session.constants(trace, self.center, batch, parts)
            components = self._components(trace, parts, constants, checked=False)
        self._trace, self._constants = trace, constants
        self.parts = parts
        frontier = {node: components[node] for node in parts.frontier}
        self._combiner = Combiner(frontier, len(self.directions))
        self._combiner.move_to([0.0] * len(self.directions))
        self._epilogue = compile_epilogue(trace, parts, self._combiner.views, constants)

    def _settle(
        self, trace: Trace, batch: Batch, varied: frozenset[str]
    ) -> tuple[Partition, Values, dict[fx.Node, Components]]:
        """Finds the partition: claims that fail their check, and cones that are dear to combine, become general."""
        denied: set[fx.Node] = set()
        dear_known = False
        while True:
            parts = partition(trace, varied, denied)
            constants = self._session.constants(trace, self.center, batch, parts)
            try:
                components = self._components(trace, parts, constants, checked=True)
            except NotAffineError as failure:
                denied.add(failure.node)
                continue
            dear = set() if dear_known else dear_nodes(parts, components, constants)
            dear_known = True
            if not dear:
                self._session.traces.partitions[trace, varied] = parts
                return parts, constants, components
            denied |= dear

    def _components(self, trace: Trace, parts: Partition, constants: Values, *, checked: bool) -> dict[Any, Components]:
        return affine_components(trace, parts, constants, self.center, self.directions, checked=checked)


def bytes_a_sample(traces: Traces, objective: Objective, center: NamedTensors, batch: Batch) -> int:
    """The size of the largest intermediate tensor for one sample, from a run of the batch's first two.

    Raises:
        CannotEvaluateError: the loss has no graph.
    """
    few = next(iter(split_batch(batch, 2)))
    center = {name: _weights_last(tensor, objective) for name, tensor in center.items()}
    try:
        trace = traces.tracer.trace(objective, center, _channels_last(few, objective))
    except NotTraceableError as reason:
        raise CannotEvaluateError(str(reason)) from reason
    values = center_values(trace, center, few, trace.nodes)
    return max((value.nbytes for value in values.values() if isinstance(value, Tensor)), default=0) // few.num_samples


def split_batch(batch: Batch, size: int) -> list[Batch]:
    """The batch in parts of at most `size` samples along the first dimension of all its tensors."""
    leaves, structure = pytree.tree_flatten(batch.data)
    parts = []
    for start in range(0, batch.num_samples, size):
        stop = min(start + size, batch.num_samples)
        cut = [leaf[start:stop] if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        parts.append(Batch(data=pytree.tree_unflatten(cut, structure), num_samples=stop - start))
    return parts


def _channels_last(batch: Batch, objective: Objective) -> Batch:
    """Images of a convolutional network with their channels last in memory, which its convolutions run faster on."""
    if not objective.has_convolutions:
        return batch
    data = pytree.tree_map(lambda leaf: _last(leaf) if isinstance(leaf, Tensor) else leaf, batch.data)
    return Batch(data=data, num_samples=batch.num_samples)


def _weights_last(tensor: Tensor, objective: Objective) -> Tensor:
    return _last(tensor) if objective.has_convolutions else tensor


def _last(tensor: Tensor) -> Tensor:
    if tensor.ndim == 4 and tensor.is_floating_point():
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor
