"""One point after another in the model's own tensors, for models whose copies do not fit the memory.

θ of a point is written block by block: the center's block is read from where it lies, the directions' are made, and
both are let go. Points are the outer loop, so that this is done once a point and not once a point and batch. What the
model held is kept in a second place meanwhile, and is put back at the end.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from slicer_core.checkpoints import open_safetensors, write_safetensors
from slicer_core.errors import UsageError
from slicer_core.evaluate.batchnorm import averaging, fresh_statistics
from slicer_core.evaluate.memory import memory_budget_bytes
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.outputs import SumsOutput
from slicer_core.evaluate.strategies.kernel import ChunkTerms, Kernel
from slicer_core.parameters import LazyTensors, NamedTensors, merged, row_blocks, rows_of
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch, ModelWrapper, SplitData, cast_batch
from slicer_core.subject.undisturbed import ordinary

STREAMING = "streaming"
# The center, one direction and the point: what the other strategies hold of the parameters at the very least.
_COPIES = 3
# So much is always there beside torch itself, and asking the system takes as long as many a small network's pass.
_LITTLE_BYTES = 16 * 2**20


def should_stream(state_bytes: int, budget_bytes: int) -> bool:
    """Whether the copies of the parameters that the other strategies make do not fit."""
    return _COPIES * state_bytes > budget_bytes


def streams(wrapper: ModelWrapper, strategy: str, memory_budget: int | None) -> bool:
    """Whether a strategy of this name, which may be `auto`, is to stream."""
    if strategy != "auto":
        return strategy == STREAMING
    # Of a sparse tensor, nobody knows.
    size = sum(tensor.nbytes for tensor in wrapper.state().values() if tensor.layout is torch.strided)
    if memory_budget is None and _COPIES * size <= _LITTLE_BYTES:
        return False
    return should_stream(size, memory_budget_bytes(memory_budget, wrapper.device))


def float32_fits(wrapper: ModelWrapper, memory_budget: int | None) -> bool:
    """Whether the stand-ins that streaming in float32 makes of tensors of another dtype do."""
    floating = [tensor for tensor in wrapper.state().values() if tensor.is_floating_point()]
    size = sum(torch.float32.itemsize * tensor.numel() for tensor in floating if tensor.dtype is not torch.float32)
    return size <= memory_budget_bytes(memory_budget, wrapper.device)


def stream(
    wrapper: ModelWrapper,
    objective: Objective,
    data: SplitData,
    blocks: Sequence[PointBlock],
    center: NamedTensors,
    *,
    dtype: torch.dtype | None = None,
    recompute: SplitData | None = None,
    advance: Callable[[float], None] | None = None,
) -> SumsOutput:
    """The sums at the points of `blocks`, see `evaluate`; the model's own tensors hold the points meanwhile."""

    def batches(split: SplitData) -> Iterator[Batch]:
        return (cast_batch(batch, wrapper.device, dtype) for batch in split.batches())

    output = SumsOutput(
        sum(len(block.coefficients) for block in blocks), wrapper.device, is_total=wrapper.form.is_total
    )
    with wrapper.evaluating(), _own_tensors(wrapper, objective) as (held, kept):
        source = merged(kept, _apart(center, wrapper, kept))
        write(held, source, held)
        center_terms = []
        for index, batch in enumerate(batches(data)):
            if index == 0:
                objective.examine(held, batch, put_back=lambda names: write(held, source, names))
            output.begin_batch(batch, objective.center_terms(held, batch, is_first=index == 0))
            center_terms.append(output.center_terms)
        number = 0
        for block in blocks:
            kernel = StreamingKernel(objective, held, source, block, wrapper)
            for point in range(len(block.coefficients)):
                kernel.move_to(point)
                if recompute is not None:
                    kernel.recompute(batches(recompute))
                for terms, batch in zip(center_terms, batches(data), strict=True):
                    output.center_terms = terms
                    output.add(kernel.terms(batch, slice(point, point + 1)), slice(number, number + 1))
                    if advance is not None:
                        advance(batch.num_samples / data.num_samples)
                number += 1
            write(held, source, kernel.varying)
    return output


class StreamingKernel(Kernel):
    """A block whose points are gone to one by one: `terms` are those of the point of the last `move_to`.

    Args:
        held: the tensors that the points are written into.
        center: what they start from, in a place of its own.
    """

    def __init__(
        self,
        objective: Objective,
        held: dict[str, Tensor],
        center: NamedTensors,
        block: PointBlock,
        wrapper: ModelWrapper,
    ) -> None:
        # Not the base's: it holds center and directions as tensors.
        self.objective = objective
        self.coefficients = block.coefficients
        self._held = held
        self._source = center
        self._vectors = [_apart(direction, wrapper) for direction in block.directions()]
        self.varying = [name for name in held if any(name in vector for vector in self._vectors)]
        self._point = 0
        # The buffers that are the point's own.
        self._recomputed: frozenset[str] = frozenset()

    def move_to(self, point: int) -> None:
        """Writes θ of the point."""
        self._point = point
        self._write([*self.varying, *(name for name in self.objective.written if name not in self.varying)])

    def recompute(self, batches: Iterable[Batch]) -> None:
        """Estimates BatchNorm's running statistics anew at the point, see `recomputed_statistics`."""
        fresh = fresh_statistics(self.objective.model, self._held)
        for name, tensor in fresh.items():
            self._held[name].copy_(tensor)
        self._recomputed = frozenset(fresh)

        def visit() -> None:
            for batch in batches:
                self.objective.terms(batch)

        with averaging(self.objective.model):
            self.objective.holding(self._held, visit)

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`; the one point is where `move_to` went."""
        # An earlier batch's pass may have written there.
        self._write(self.objective.written - self._recomputed)
        found = self.objective.holding(self._held, lambda: self.objective.terms(batch))
        return {name: (terms.sums[None], terms.counts[None]) for name, terms in found.items()}

    def chunk_size(self, batch: Batch) -> int:
        """One point: there is one copy of the parameters."""
        return 1

    def _write(self, names: Iterable[str]) -> None:
        coefficients = self.coefficients[self._point].tolist()
        for name in names:
            moving = [
                (vector, coefficient)
                for vector, coefficient in zip(self._vectors, coefficients, strict=True)
                if coefficient and name in vector
            ]
            for start, stop, rows in _blocks(self._held[name]):
                base = rows_of(self._source, name, start, stop)
                # Halves have too few digits for a sum of weights.
                total = self.objective.cast_for_combining(base) if self.objective.is_reduced else rows.copy_(base)
                for vector, coefficient in moving:
                    part = self.objective.cast_for_combining(rows_of(vector, name, start, stop))
                    total = total.add_(part, alpha=coefficient) if total is rows else total.add(part, alpha=coefficient)
                if total is not rows:
                    rows.copy_(total)


def write(held: Mapping[str, Tensor], source: NamedTensors, names: Iterable[str]) -> None:
    """Copies these tensors block by block."""
    for name in names:
        for start, stop, rows in _blocks(held[name]):
            rows.copy_(rows_of(source, name, start, stop))


@contextlib.contextmanager
def kept_elsewhere(wrapper: ModelWrapper) -> Iterator[NamedTensors]:
    """All that the model holds, in a second place: host memory for a model on a device, else a temporary file.

    Raises:
        UsageError: the disk has no room for it.
    """
    own = wrapper.state()
    if wrapper.device.type != "cpu":
        yield {name: tensor.cpu() for name, tensor in own.items()}
        return
    with tempfile.TemporaryDirectory(prefix="loss-slicer-") as folder:
        size, free = sum(tensor.nbytes for tensor in own.values()), shutil.disk_usage(folder).free
        if size > free:
            raise UsageError(
                f"streaming keeps the model's {size / 2**30:.1f} GiB in {tempfile.gettempdir()} while it runs, which "
                f"has {free / 2**30:.1f} GiB free: set TMPDIR to a folder on a disk with more"
            )
        path = Path(folder) / "model.safetensors"
        write_safetensors(path, own)
        kept = open_safetensors(path)
    # The file has no name any more and lasts while it is open, so that a killed process leaves nothing either.
    yield kept


@contextlib.contextmanager
def _own_tensors(wrapper: ModelWrapper, objective: Objective) -> Iterator[tuple[dict[str, Tensor], NamedTensors]]:
    """The model's tensors to be written to, and a copy of what they hold, which is put back at the end.

    A tensor gets a stand-in where it is of another dtype than the evaluation's, shares its memory, or was made in
    inference mode.
    """
    # `.data`: a graph that the model is part of does not take what is put back for a change.
    own = {name: tensor.data for name, tensor in [*wrapper.model.named_parameters(), *wrapper.model.named_buffers()]}
    with kept_elsewhere(wrapper) as kept:
        shared = overlapping(own)
        held, in_place = {}, []
        for name, tensor in own.items():
            cast = ordinary(objective.cast(tensor))
            if cast is tensor and name not in shared:
                in_place.append(name)
            held[name] = cast.clone() if name in shared else cast
        try:
            yield held, kept
        finally:
            write(own, kept, in_place)


def overlapping(tensors: Mapping[str, Tensor]) -> set[str]:
    """The names of tensors with entries at the same place, among themselves or with another's."""
    shared = {
        name
        for name, tensor in tensors.items()
        if any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True))
    }
    spans = sorted((*_span(tensor), name) for name, tensor in tensors.items() if tensor.nbytes)
    end, last = 0, ""
    for start, stop, name in spans:
        if start < end:
            shared |= {last, name}
        if stop > end:
            end, last = stop, name
    return shared


def _span(tensor: Tensor) -> tuple[int, int]:
    """The addresses of a tensor's first entry and of the end of its last."""
    last = sum(stride * (size - 1) for stride, size in zip(tensor.stride(), tensor.shape, strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def _apart(vector: NamedTensors, wrapper: ModelWrapper, kept: NamedTensors | None = None) -> NamedTensors:
    """The vector without the model's own memory: the same tensor is the one in `kept`, any other a copy."""
    if isinstance(vector, LazyTensors):
        return vector
    own = wrapper.state()
    storages = {tensor.untyped_storage().data_ptr() for tensor in own.values()}
    apart = {}
    for name, tensor in vector.items():
        if tensor.untyped_storage().data_ptr() not in storages:
            apart[name] = tensor
        elif kept is None or tensor.data_ptr() != own[name].data_ptr() or tensor.stride() != own[name].stride():
            apart[name] = tensor.clone()
    return apart


def _blocks(tensor: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    for start, stop in row_blocks(tensor):
        yield start, stop, tensor[start:stop] if tensor.ndim else tensor
