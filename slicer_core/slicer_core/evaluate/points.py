"""All points of some blocks on all batches, in this process: batches outside, so that each is read and moved once."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from slicer_core.errors import ResourceError
from slicer_core.evaluate.choice import StrategyChoice
from slicer_core.evaluate.objective import Objective, Terms
from slicer_core.evaluate.outputs import SumsOutput
from slicer_core.evaluate.sharing import Taken
from slicer_core.evaluate.shortage import MemoryShortageError, shortage_message
from slicer_core.evaluate.strategies import FAILURES, Kernel, PartsKernel, terms_if_they_fit
from slicer_core.evaluate.strategies.kernel import ChunkTerms
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch, SampleTerms

Advance = Callable[[float], None]
PartKey = tuple[int, int, int]
"""A batch's number, a part's first sample in it and the part's number of samples."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A batch or a part of it: the batch's number, and that of its first sample in the batch."""

    batch: Batch
    index: int
    start: int


class KnownBatches:
    """What the points asked for before have shown of each part of a batch: the center's terms, and that it was checked.

    Terms are kept where they are small beside the data, which they are unless a loss is given for each token. `held`:
    the parts on which the strategy agreed with the loop in this process. What another one found says nothing of this
    one's, which may have been captured and cut on other parts.
    """

    _BYTES = 64 * 2**20

    def __init__(self) -> None:
        self._terms: dict[PartKey, Terms] = {}
        # How many samples the largest part has that begins a batch, by the batch's number.
        self._begun: dict[int, int] = {}
        self._left = self._BYTES
        self.held: set[PartKey] = set()

    def keys(self) -> set[PartKey]:
        """The parts of which something is kept."""
        return set(self._terms)

    def without(self, keys: Collection[PartKey]) -> dict[PartKey, Terms]:
        """The terms of all other parts."""
        return {key: terms for key, terms in self._terms.items() if key not in keys}

    def add(self, parts: Mapping[PartKey, Terms]) -> None:
        """What another process has found; the data is the same."""
        for key, terms in parts.items():
            self.terms(key, lambda terms=terms: terms)

    def terms(self, key: PartKey, compute: Callable[[], Terms]) -> Terms:
        """The center's terms of the part."""
        if key in self._terms:
            return self._terms[key]
        if (known := self._within(key)) is not None:
            return known
        terms = compute()
        size = sum(part.sums.nbytes + part.counts.nbytes for part in terms.values())
        if size <= self._left:
            self._left -= size
            self._terms[key] = terms
            index, start, count = key
            if start == 0:
                self._begun[index] = max(count, self._begun.get(index, 0))
        return terms

    def _within(self, key: PartKey) -> Terms | None:
        """Those of the part as a piece of a larger one, where that has one entry a sample."""
        index, start, size = key
        count = self._begun.get(index, 0)
        if start + size > count:
            return None
        terms = self._terms[index, 0, count]
        if any(not own.sums.numel() == own.counts.numel() == count for own in terms.values()):
            return None
        own = slice(start, start + size)
        return {name: SampleTerms(sums=whole.sums[own], counts=whole.counts[own]) for name, whole in terms.items()}


class PointsRun:
    """Gives the terms of every point to an output; what does not fit the memory is run in smaller pieces."""

    def __init__(
        self,
        choice: StrategyChoice,
        objective: Objective,
        state: NamedTensors,
        *,
        buffers: Sequence[NamedTensors] | None = None,
        advance: Advance | None = None,
        known: KnownBatches | None = None,
        taken: Taken | None = None,
    ) -> None:
        self._choice = choice
        self._objective = objective
        self._state = state
        self._buffers = buffers
        self._advance = advance
        self._known = known or KnownBatches()
        self._taken = taken
        # The most points a chunk may have, once memory has run out.
        self._max_chunk: int | None = None

    def over(
        self, batches: Iterable[Batch], num_samples: int, blocks: Sequence[PointBlock], output: SumsOutput
    ) -> None:
        """Evaluates the points of `blocks` on every batch, all or those that are taken.

        `num_samples` is that of all batches.

        Raises:
            ResourceError: one point on one sample does not fit the memory.
        """
        for index, whole in enumerate(batches):
            self.over_piece(Piece(batch=whole, index=index, start=0), num_samples, blocks, output)

    def over_piece(self, piece: Piece, num_samples: int, blocks: Sequence[PointBlock], output: SumsOutput) -> None:
        """As `over`, on one piece of the data."""
        start = piece.start
        for batch in self._choice.parts(piece.batch):
            self._over_part(batch, (piece.index, start, batch.num_samples), num_samples, blocks, output)
            start += batch.num_samples

    def _over_part(
        self, batch: Batch, key: PartKey, num_samples: int, blocks: Sequence[PointBlock], output: SumsOutput
    ) -> None:
        index, start, size = key
        was_held = key in self._known.held
        is_first = index == 0 and start == 0
        terms = self._known.terms(key, lambda: self._objective.center_terms(self._state, batch, is_first=is_first))
        output.begin_batch(batch, terms)
        probe = None if was_held else index + start // size
        # Every batch is checked with one of the blocks, and with all where that one fails.
        if probe is not None and len(blocks) > 1 and self._holds(blocks, batch, probe):
            probe, was_held = None, True
        first, has_points = 0, False
        for number, block in enumerate(blocks):
            count = len(block.coefficients)
            ranges = [slice(0, count)] if self._taken is None else self._taken.of_block(number)

            def done(terms: ChunkTerms, points: slice, first: int = first) -> None:
                nonlocal has_points
                has_points = True
                output.add(terms, slice(first + points.start, first + points.stop))
                if self._advance is not None:
                    self._advance((points.stop - points.start) * size / num_samples)

            self._run_block(block, batch, self._buffers_of(first, block), probe, ranges, terms, done)
            first += count
        # Where the loop has taken over, points to come are checked again: they may move other tensors. A process that
        # got none of the points has checked nothing.
        if (was_held or (has_points and len(blocks) == 1)) and not self._choice.has_given_up(blocks):
            self._known.held.add(key)

    def _holds(self, blocks: Sequence[PointBlock], batch: Batch, probe: int) -> bool:
        number = probe % len(blocks)
        first = sum(len(block.coefficients) for block in blocks[:number])
        return self._choice.holds(blocks[number], batch, self._buffers_of(first, blocks[number]), probe=probe)

    def _buffers_of(self, first: int, block: PointBlock) -> Sequence[NamedTensors] | None:
        """Of a block whose first point is that among all."""
        return None if self._buffers is None else self._buffers[first : first + len(block.coefficients)]

    def _run_block(
        self,
        block: PointBlock,
        batch: Batch,
        buffers: Sequence[NamedTensors] | None,
        probe: int | None,
        ranges: Iterable[slice],
        center: Terms,
        done: Callable[[ChunkTerms, slice], None],
    ) -> None:
        kernel: Kernel | None = None
        size, part_size = 0, batch.num_samples
        # BatchNorm statistics that are estimated at each point are other ones there than the center's own.
        at_center = np.asarray((block.coefficients == 0).all(axis=1) & (buffers is None))
        for wanted in ranges:
            if kernel is None:
                kernel = self._kernel(block, batch, buffers, probe)
                size = self._chunk_size(kernel, batch)
            low = wanted.start
            while low < wanted.stop:
                points = _alike(slice(low, min(low + size, wanted.stop)), at_center, kernel)
                if at_center[points].all():
                    done(_center_at(center, points), points)
                    low = points.stop
                    continue
                fits_between = True
                try:
                    terms = terms_if_they_fit(kernel, batch, points)
                except MemoryShortageError:
                    terms, fits_between = None, False
                except FAILURES as error:
                    if not self._choice.give_up(block, error):
                        raise
                    is_whole = part_size == batch.num_samples
                    kernel = (
                        self._kernel(block, batch, buffers, None)
                        if is_whole
                        else self._in_parts(block, batch, buffers, part_size)
                    )
                    size = self._chunk_size(kernel, batch)
                    continue
                if terms is None:
                    gc.collect()
                    if torch.cuda.is_initialized():
                        torch.cuda.empty_cache()
                    if size > 1 and fits_between:
                        self._max_chunk = size = size // 2
                        continue
                    del kernel
                    part_size //= 2
                    kernel = self._in_parts(block, batch, buffers, part_size)
                    continue
                done(_with_center(terms, center, at_center[points]), points)
                low = points.stop

    def _kernel(
        self, block: PointBlock, batch: Batch, buffers: Sequence[NamedTensors] | None, probe: int | None
    ) -> Kernel:
        try:
            return self._choice.kernel(block, batch, buffers, probe=probe)
        except MemoryShortageError:
            pass
        return self._in_parts(block, batch, buffers, batch.num_samples // 2, probe)

    def _in_parts(
        self,
        block: PointBlock,
        batch: Batch,
        buffers: Sequence[NamedTensors] | None,
        size: int,
        probe: int | None = None,
    ) -> Kernel:
        parts = self._choice.smaller_parts(batch, size)
        if not parts and self._choice.keep_less():
            return self._kernel(block, batch, buffers, probe)
        if not parts:
            raise ResourceError(shortage_message(max(1, size)))
        return PartsKernel(lambda part: self._kernel(block, part, buffers, probe), parts)

    def _chunk_size(self, kernel: Kernel, batch: Batch) -> int:
        size = kernel.chunk_size(batch)
        return size if self._max_chunk is None else min(size, self._max_chunk)


def _alike(points: slice, at_center: np.ndarray, kernel: Kernel) -> slice:
    """As many of the first points as are all at the center or all not, where no chunk has to be whole."""
    found = at_center[points]
    others = np.flatnonzero(found != found[0])
    return points if kernel.in_chunks or not len(others) else slice(points.start, points.start + int(others[0]))


def _center_at(center: Terms, points: slice) -> ChunkTerms:
    """The center's terms for so many points there."""
    count = points.stop - points.start
    return {name: (own.sums.expand(count, -1), own.counts.expand(count, -1)) for name, own in center.items()}


def _with_center(terms: ChunkTerms, center: Terms, at_center: np.ndarray) -> ChunkTerms:
    """A chunk's terms, with the center's in place of what rounding made of them."""
    if not at_center.any():
        return terms
    rows = torch.from_numpy(at_center)[:, None]

    def put(own: Tensor, found: Tensor) -> Tensor:
        return torch.where(rows.to(own.device), own, found) if own.shape == found.shape[1:] else found

    return {
        name: (put(center[name].sums, sums), put(center[name].counts, counts)) for name, (sums, counts) in terms.items()
    }
