"""The batch as the engine runs it: in parts, and in the memory layout that the model's operations run fastest on."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.trace import batch_tensors
from slicer_core.subject import Batch
from slicer_core.subject.nesting import flatten, map_leaves, unflatten


def is_splittable(objective: Objective, batch: Batch) -> bool:
    """Whether the batch can be cut, and parts of it give the same sums."""
    return objective.sums_over_samples and all(
        tensor.ndim > 0 and tensor.shape[0] == batch.num_samples for tensor in batch_tensors(batch)
    )


def split_batch(batch: Batch, size: int) -> list[Batch]:
    """The batch in parts of at most `size` samples along the first dimension of all its tensors, all nearly alike."""
    count = -(-batch.num_samples // size)
    if count == 1:
        return [batch]
    leaves, structure = flatten(batch.data)
    edges = [batch.num_samples * index // count for index in range(count + 1)]
    parts = []
    for start, stop in itertools.pairwise(edges):
        cut = [leaf[start:stop] if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        parts.append(Batch(data=unflatten(cut, structure), num_samples=stop - start))
    return parts


def first_samples(batch: Batch, count: int) -> Batch:
    """The first samples of a batch that can be cut; a whole one where it has no more."""
    if count >= batch.num_samples:
        return batch
    data = map_leaves(lambda leaf: leaf[:count] if isinstance(leaf, Tensor) else leaf, batch.data)
    return Batch(data=data, num_samples=count)


def batch_laid_out(batch: Batch, objective: Objective) -> Batch:
    """Images of a convolutional network with their channels last in memory, which its convolutions run faster on."""
    if not objective.has_channels_last:
        return batch
    data = map_leaves(lambda leaf: _channels_last(leaf) if isinstance(leaf, Tensor) else leaf, batch.data)
    return Batch(data=data, num_samples=batch.num_samples)


def weight_laid_out(tensor: Tensor, objective: Objective) -> Tensor:
    """A convolution's weight in the layout of its images."""
    return _channels_last(tensor) if objective.has_channels_last else tensor


def _channels_last(tensor: Tensor) -> Tensor:
    if tensor.ndim == 4 and tensor.is_floating_point():
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor
