"""A training's loader is read in order and whole, or left as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from slicer_core.subject.in_order import in_order

DATA = TensorDataset(torch.arange(10))


def batches(loader: Any) -> list[list[int]]:
    return [batch[0].tolist() for batch in loader]


WHOLE = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
LOADERS: dict[str, tuple[Callable[[], DataLoader], list[list[int]]]] = {
    "shuffled": (lambda: DataLoader(DATA, batch_size=4, shuffle=True, drop_last=True), WHOLE),
    "in order": (lambda: DataLoader(DATA, batch_size=4), WHOLE),
    "a process's part": (
        lambda: DataLoader(DATA, batch_size=4, sampler=DistributedSampler(DATA, num_replicas=2, rank=1)),
        WHOLE,
    ),
    "a part of the data": (
        lambda: DataLoader(DATA, batch_size=2, sampler=SubsetRandomSampler([7, 1, 4])),
        [[1, 4], [7]],
    ),
    "batches of a sampler": (lambda: DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 4, True)), WHOLE),
}


@pytest.mark.parametrize("name", LOADERS)
def test_all_samples_come_in_their_order(name: str) -> None:
    make, expected = LOADERS[name]
    loader = make()
    assert batches(in_order(loader)) == expected
    assert [sum(each) for each in in_order(loader, lambda batch: batch[0].tolist())] == list(map(sum, expected))


@pytest.mark.parametrize(
    "left",
    [
        DataLoader(DATA, batch_size=4, sampler=WeightedRandomSampler([1.0] * 10, 10)),
        DataLoader(DATA, batch_size=4, sampler=RandomSampler(DATA, num_samples=5)),
        [torch.arange(3)],
        None,
    ],
)
def test_what_takes_samples_otherwise_is_left_as_it_is(left: Any) -> None:
    assert in_order(left) is left


def test_a_loader_that_accelerate_prepared_is_read_in_order() -> None:
    accelerate = pytest.importorskip("accelerate")
    loader = accelerate.Accelerator(cpu=True).prepare_data_loader(DataLoader(DATA, batch_size=4, shuffle=True))
    assert batches(in_order(loader)) == WHOLE
