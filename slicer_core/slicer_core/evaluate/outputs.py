"""What an evaluation keeps of each point. Sums over samples are one kind; another may ask the kernel for gradients."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slicer_core.errors import DataError
from slicer_core.evaluate.groups import NUM_GROUPS, GroupSums, places
from slicer_core.evaluate.objective import Terms
from slicer_core.evaluate.strategies.kernel import ChunkTerms
from slicer_core.evaluate.sums import PointSums
from slicer_core.subject import LOSS, Batch

# Products of a few points at a time, which stay in a processor's cache.
_CACHED_BYTES = 2 * 2**20

_CenterTerms = tuple[Tensor, Tensor, Tensor | None]
"""Sums and counts of a batch's entries at the center, and where those of each group lie (of the loss alone)."""


class Output(ABC):
    """Collects over batches and chunks of points."""

    @abstractmethod
    def begin_batch(self, batch: Batch, center: Terms) -> None:
        """Called once for each batch, with the terms at the center."""

    @abstractmethod
    def add(self, terms: ChunkTerms, points: slice) -> None:
        """Called for each chunk with its terms; `points` of the plan."""

    @abstractmethod
    def result(self) -> Any:
        """What was collected."""


class SumsOutput(Output):
    """`PointSums` for the loss and for each metric, accumulated in float64.

    `first_entry`: how many entries of the loss the split has before the first batch.

    Raises:
        DataError: the counts of a loss are not the same at all points.
    """

    def __init__(self, num_points: int, device: torch.device, *, is_total: bool, first_entry: int = 0) -> None:
        self._num_points = num_points
        self._first_entry = first_entry
        self._is_total = is_total
        # Metal has no float64.
        self._device = torch.device("cpu") if device.type == "mps" else device
        self._points: dict[str, Tensor] = {}
        self._center: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}
        self._entries: dict[str, int] = {}
        self._samples = 0
        self._grouped = torch.zeros(num_points, NUM_GROUPS, dtype=torch.float64, device=self._device)
        # Of each group at the center: Σs, Σc and the number of entries.
        self._group_center = torch.zeros(3, NUM_GROUPS, dtype=torch.float64, device=self._device)
        self.center_terms: dict[str, _CenterTerms] = {}
        self._scratch = _Scratch()

    def begin_batch(self, batch: Batch, center: Terms) -> None:
        """Keeps the center's terms of the batch, and adds to the sums that belong to the whole split.

        Who comes back to a batch later puts its `center_terms` back before.
        """
        self.center_terms = {}
        self._samples += batch.num_samples
        for name, terms in center.items():
            sums, counts = self._double(terms.sums), self._double(terms.counts)
            groups = None
            if name == LOSS:
                groups = torch.from_numpy(places(self._first_entry + self._entries.get(name, 0), counts.numel())).to(
                    self._device
                )
                three = torch.stack([sums, counts, torch.ones_like(counts)])
                self._group_center += _group_sums(three, groups, self._scratch)
            self.center_terms[name] = (sums, counts, groups)
            if name not in self._points:
                self._points[name] = torch.zeros(4, self._num_points, dtype=torch.float64, device=self._device)
                self._center[name] = torch.zeros(3, dtype=torch.float64, device=self._device)
                self._counts[name] = torch.zeros(3, dtype=torch.float64, device=self._device)
                self._entries[name] = 0
            self._center[name] += torch.stack([sums.sum(), sums @ sums, sums @ counts])
            counted = ((counts != 0) | (sums != 0)).sum().double()
            self._counts[name] += torch.stack([counts.sum(), counts @ counts, counted])
            self._entries[name] += counts.numel()

    def add(self, terms: ChunkTerms, points: slice) -> None:
        """Adds the chunk's sums; a NaN or an infinity stays what it is."""
        for name, (sums, counts) in terms.items():
            center_sums, center_counts, groups = self.center_terms[name]
            # Counts that are the same for all points are one row, seen several times.
            distinct = counts[:1] if counts.stride(0) == 0 else counts
            if counts.shape[1:] != center_counts.shape or not torch.equal(
                self._double(distinct), center_counts.expand(distinct.shape)
            ):
                raise DataError(
                    f"what the {name} is divided by changes with the parameters: LossSum needs a count that depends on "
                    "the data alone"
                )
            step = len(sums)
            if self._device.type == "cpu":
                step = max(1, _CACHED_BYTES // (4 * 8 * max(1, counts.shape[1])))
            for first in range(0, len(sums), step):
                values = self._double(sums[first : first + step])
                where = slice(points.start + first, points.start + first + len(values))
                self._points[name][:, where] += _row_sums(values, center_counts, center_sums, self._scratch)
                if groups is not None:
                    self._grouped[where] += _group_sums(values, groups, self._scratch)

    def result(self) -> dict[str, PointSums]:
        """The sums by the name of the quantity."""
        collected = {}
        for name, points in self._points.items():
            total, squares, with_counts, with_center = points.cpu().numpy()
            center = [float(value) for value in self._center[name].tolist()]
            count, count_squares, counted = (float(value) for value in self._counts[name].tolist())
            collected[name] = PointSums(
                total=np.ascontiguousarray(total),
                squares=np.ascontiguousarray(squares),
                with_counts=np.ascontiguousarray(with_counts),
                with_center=np.ascontiguousarray(with_center),
                center_total=center[0],
                center_squares=center[1],
                center_with_counts=center[2],
                count=count,
                count_squares=count_squares,
                num_entries=self._entries[name],
                counted=int(counted),
                is_total=self._is_total and name == LOSS,
                entries="samples" if self._entries[name] >= self._samples else "batches",
                groups=self._groups() if name == LOSS else None,
            )
        return collected

    def _groups(self) -> GroupSums:
        center, counts, sizes = self._group_center.cpu().numpy()
        return GroupSums(points=self._grouped.cpu().numpy(), center=center, counts=counts, sizes=sizes)

    def _double(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(self._device).double()


class _Scratch:
    """Memory for what is computed and read at once, again and again: fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """A tensor of that shape, with whatever lies in it."""
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.numel() < size:
            kept = self._kept[name] = like.new_empty(size)
        return kept[:size].view(shape)


def _row_sums(values: Tensor, counts: Tensor, center: Tensor, scratch: _Scratch) -> Tensor:
    """Σs, Σs², Σsc and Σs·s₀ of each row, shape (4, rows).

    Row sums of one matrix, not products with a vector: on a CPU a row's sum is the same bits whichever rows are summed
    with it, so that a point's sums do not depend on the tile that it came in.
    """
    products = scratch.take("products", values, 4, *values.shape)
    products[0] = values
    for product, factor in zip(products[1:], (values, counts, center), strict=True):
        torch.mul(values, factor, out=product)
    return products.view(-1, values.shape[1]).sum(dim=1).view(4, -1)


def _group_sums(values: Tensor, groups: Tensor, scratch: _Scratch) -> Tensor:
    """Of each row the sums over each group, shape (rows, groups); row sums for the same reason as in `_row_sums`."""
    num_rows, num_entries = values.shape
    widened = scratch.take("widened", values, num_rows, num_entries + 1)
    widened[:, :-1] = values
    widened[:, -1] = 0
    dealt = scratch.take("dealt", values, num_rows, groups.numel())
    # Not `index_select`, which on a CPU takes three times as long along rows.
    torch.gather(widened, 1, groups.reshape(1, -1).expand(num_rows, -1), out=dealt)
    return dealt.view(-1, groups.shape[1]).sum(dim=1).view(num_rows, -1)
