"""A part of a split's samples that stands for all: chosen by seed and by class, the same on every machine."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from slicer_core.errors import UsageError
from slicer_core.philox import random_order
from slicer_core.subject.data import Batch, SplitData, gathered, has_rows
from slicer_core.subject.nesting import flatten, leaves_of, map_leaves, unflatten


def stratified_order(split: SplitData, seed: int) -> np.ndarray:
    """A permutation of the split's samples, shape (num_samples,), int64, numbered as they are read.

    Where the targets are class numbers (the last tensor of each batch, integers, one a sample), the first n of it hold
    n·(share of the class) samples of each class to less than one, for every n. Else it is a plain random permutation.
    Samples of a class, and classes that are equally due, come in a random order. It depends on the name of the split,
    the targets and the seed alone.
    """
    shuffled = random_order(f"{seed}/samples/{split.name}", split.num_samples)
    targets = _class_targets(split)
    if targets is None:
        return shuffled
    _, classes = np.unique(targets, return_inverse=True)
    # Numbered at random, so that of classes that are equally due it is not always the same that come first.
    classes = random_order(f"{seed}/classes/{split.name}", int(classes.max()) + 1)[classes.reshape(-1)]
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    turns = np.array(_turns(np.bincount(classes).tolist()), dtype=np.int64)
    order = np.empty_like(shuffled)
    order[np.argsort(turns, kind="stable")] = by_class
    return order


def subset(split: SplitData, positions: np.ndarray, *, batch_size: int | None = None) -> SplitData:
    """The split with the samples at `positions` alone, numbered as they are read, which is also their order.

    Batches stay as they are cut, but those that become empty are left out; with `batch_size`, neighbors that fit
    together are joined up to that many samples. Of a batch, a tensor or numpy array whose first dimension is its number
    of samples is cut, everything else stays. The samples are kept where they fit, as the split's own are, else read
    again.

    Raises:
        UsageError: a position is given twice or is not in the split, or there is none.
    """
    chosen = np.unique(np.asarray(positions, dtype=np.int64))
    if not (0 < len(chosen) == len(positions) and chosen[0] >= 0 and chosen[-1] < split.num_samples):
        raise UsageError(
            f"{len(positions)} positions ({len(chosen)} different) are no subset of the {split.num_samples} samples of "
            f"the {split.name} data: give each at most once, from 0 to {split.num_samples - 1}"
        )
    if len(chosen) == split.num_samples:
        return split

    def read() -> Iterator[Batch]:
        cut = _cut(split.batches(), chosen)
        return cut if batch_size is None else _joined(cut, batch_size)

    digest = hashlib.blake2b(f"{split.fingerprint}/{batch_size}/".encode(), digest_size=16)
    digest.update(chosen.astype("<i8").tobytes())
    return gathered(read, split.name, digest.hexdigest())


def _class_targets(split: SplitData) -> np.ndarray | None:
    """The class of each sample, or None where the targets are something else."""
    found = []
    for batch in split.batches():
        target = [leaf for leaf in leaves_of(batch.data) if isinstance(leaf, Tensor)][-1]
        if target.shape != (batch.num_samples,) or target.is_floating_point() or target.is_complex():
            return None
        found.append(target.cpu().numpy())
    return np.concatenate(found)


def _turns(sizes: Sequence[int]) -> list[int]:
    """The class of each place of an order in which no class is ever a whole sample ahead of its share, or behind.

    Tijdeman, "The chairman assignment problem", Discrete Mathematics 32 (1980): of those that may come without being
    too far ahead, the class comes next that would be the first to be too far behind. With C classes the bound is
    1 - 1/(2(C - 1)). Integers, so that it holds for any sizes.
    """
    total, parts = sum(sizes), max(2, 2 * (len(sizes) - 1))
    taken = [0] * len(sizes)
    waiting = [(0, number) for number in range(len(sizes))]
    due: list[tuple[int, int]] = []
    turns = []
    for place in range(1, total + 1):
        while waiting and waiting[0][0] <= place:
            _, number = heapq.heappop(waiting)
            latest = ((taken[number] + 1) * parts - 1) * total // (parts * sizes[number])
            heapq.heappush(due, (latest, number))
        _, number = heapq.heappop(due)
        turns.append(number)
        taken[number] += 1
        if taken[number] < sizes[number]:
            earliest = -(-(taken[number] * parts + 1) * total // (parts * sizes[number]))
            heapq.heappush(waiting, (earliest, number))
    return turns


def _cut(batches: Iterable[Batch], chosen: np.ndarray) -> Iterator[Batch]:
    first = 0
    for batch in batches:
        low, high = np.searchsorted(chosen, [first, first + batch.num_samples])
        rows = torch.from_numpy(chosen[low:high] - first)
        first += batch.num_samples
        if len(rows) == batch.num_samples:
            yield batch
        elif len(rows):
            yield _rows(batch, rows)
        if high == len(chosen):
            return


def _rows(batch: Batch, rows: Tensor) -> Batch:
    def pick(leaf: object) -> object:
        if not has_rows(leaf, batch.num_samples):
            return leaf
        return leaf.index_select(0, rows.to(leaf.device)) if isinstance(leaf, Tensor) else leaf[rows.numpy()]

    return Batch(data=map_leaves(pick, batch.data), num_samples=len(rows))


def _joined(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    held: list[Batch] = []
    for batch in batches:
        if held and (
            sum(part.num_samples for part in held) + batch.num_samples > size or _form(held[0]) != _form(batch)
        ):
            yield _together(held)
            held = []
        held.append(batch)
    if held:
        yield _together(held)


def _form(batch: Batch) -> object:
    """What batches have in common that can be joined; of one that can't be, what is like nothing else."""
    leaves, structure = flatten(batch.data)
    parts = []
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or leaf.ndim == 0 or len(leaf) != batch.num_samples:
            return object()
        parts.append((leaf.shape[1:], leaf.dtype))
    return structure, parts


def _together(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    columns = zip(*(leaves_of(batch.data) for batch in batches), strict=True)
    _, structure = flatten(batches[0].data)
    return Batch(
        data=unflatten([torch.cat(column) for column in columns], structure),
        num_samples=sum(batch.num_samples for batch in batches),
    )
