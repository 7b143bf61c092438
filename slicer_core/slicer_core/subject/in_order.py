"""A training's shuffled loader as one that reads all samples in their order, as a `ModelWrapper` needs its data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)


def in_order(data: Any, convert: Callable[[Any], Any] | None = None) -> Any:
    """A loader whose sampler takes each sample once as one that reads all in their order, also those that a process of
    several would leave to others; everything else as it is.

    `convert` is applied to each batch of the new loader.
    """
    if not isinstance(data, DataLoader) or isinstance(data.dataset, IterableDataset):
        return data
    # Where a library has put a batch sampler of its own around, the loader itself knows neither.
    batches: Any = data.batch_sampler
    batch_size = data.batch_size if data.batch_size is not None else getattr(batches, "batch_size", None)
    sampler = getattr(batches, "sampler", data.sampler)
    if not isinstance(batch_size, int):
        return data
    dataset: Any = data.dataset
    if isinstance(sampler, SubsetRandomSampler):
        dataset = Subset(dataset, sorted(sampler.indices))
    elif isinstance(sampler, RandomSampler):
        if sampler.replacement or sampler.num_samples != len(sampler.data_source):
            return data
    elif not isinstance(sampler, (SequentialSampler, DistributedSampler)):
        return data
    collate = data.collate_fn if convert is None else _Converted(data.collate_fn, convert)
    return DataLoader(dataset, batch_size=batch_size, shuffle=False, collate_fn=collate)


class _Converted:
    """A collate function with something after it."""

    def __init__(self, collate: Callable[[Any], Any], convert: Callable[[Any], Any]) -> None:
        self._collate = collate
        self._convert = convert

    def __call__(self, samples: Any) -> Any:
        return self._convert(self._collate(samples))
