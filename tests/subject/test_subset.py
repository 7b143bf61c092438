"""A part of the samples: which ones, in what batches, and the loss on exactly those."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import UsageError
from slicer_core.methods.method import SliceOptions
from slicer_core.methods.random_direction import Random1D
from slicer_core.subject import SplitData, stratified_order, subset
from slicer_core.subject import data as split_data


def split_of(targets: Any, batch_size: int | None = None, name: str = "train") -> SplitData:
    """A split whose only input is the number of the sample."""
    inputs = torch.arange(len(targets), dtype=torch.float32).reshape(-1, 1)
    data = {f"{name}_data": (inputs, torch.as_tensor(targets))}
    return ModelWrapper(nn.Linear(1, 3), nn.CrossEntropyLoss(), **data).split(name, batch_size)


def numbers(split: SplitData) -> list[list[int]]:
    return [batch.data[0].reshape(-1).int().tolist() for batch in split.batches()]


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=9), seed=st.integers(0, 3))
def test_every_prefix_holds_each_class_by_its_share_to_less_than_one(sizes: list[int], seed: int) -> None:
    classes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)) * 7 - 3, sizes))
    order = stratified_order(split_of(classes, 16), seed)
    assert sorted(order) == list(range(len(classes)))
    assert order.dtype == np.int64
    held = np.cumsum(classes[order][:, None] == np.unique(classes), axis=0)
    share = np.arange(1, len(classes) + 1)[:, None] * np.array(sizes) / len(classes)
    assert np.abs(held - share).max() < 1 - 1e-9


def test_the_order_depends_on_data_seed_and_split_alone() -> None:
    classes = [0, 1, 2, 1, 0, 0, 2, 1, 0, 0]
    order = stratified_order(split_of(classes), 0)
    # Pinned: results of earlier runs are of these samples.
    pinned = [9, 7, 0, 2, 4, 1, 8, 6, 5, 3]
    assert order.tolist() == pinned
    np.testing.assert_array_equal(stratified_order(split_of(classes, 3), 0), order)
    others = [stratified_order(split_of(classes), 1), stratified_order(split_of(classes, name="test"), 0)]
    assert all(other.tolist() != pinned for other in others)


@pytest.mark.parametrize(
    "targets",
    [torch.randn(40), torch.randint(0, 2, (40, 2)), torch.randn(40, 1)],
    ids=["numbers", "two a sample", "columns"],
)
def test_without_class_numbers_it_is_a_plain_permutation(targets: Tensor) -> None:
    order = stratified_order(split_of(targets), 0)
    assert sorted(order) == list(range(40))
    assert order.tolist() != list(range(40))
    np.testing.assert_array_equal(stratified_order(split_of(torch.zeros(40)), 0), order)


def test_classes_and_samples_come_first_about_equally_often() -> None:
    firsts = [stratified_order(split_of([0, 1, 2] * 10), seed)[0] for seed in range(300)]
    assert np.bincount(np.array(firsts) % 3).min() > 70
    assert len(set(firsts)) == 30


def test_a_subset_is_in_reading_order_and_leaves_out_what_is_empty() -> None:
    whole = split_of([0, 1] * 10, 4)
    found = subset(whole, np.array([19, 4, 0, 1, 2, 3, 6]))
    assert numbers(found) == [[0, 1, 2, 3], [4, 6], [19]]
    assert (found.name, found.num_samples, found.num_batches) == ("train", 7, 3)
    assert subset(whole, np.arange(20)[::-1]) is whole


def test_neighbors_are_joined_up_to_a_size() -> None:
    whole = split_of([0, 1] * 10, 4)
    assert numbers(subset(whole, np.array([0, 5, 6, 9, 10, 13, 19]), batch_size=4)) == [[0, 5, 6], [9, 10, 13, 19]]


def test_fingerprints_tell_subsets_apart() -> None:
    whole, other = split_of([0, 1] * 10, 4), split_of([1, 0] * 10, 4)
    found = [
        subset(whole, np.array([1, 2])),
        subset(whole, np.array([1, 3])),
        subset(whole, np.array([1, 2]), batch_size=4),
        subset(other, np.array([1, 2])),
        whole,
    ]
    assert len({split.fingerprint for split in found}) == len(found)
    assert subset(whole, np.array([2, 1])).fingerprint == found[0].fingerprint


@pytest.mark.parametrize("positions", [[], [3, 3], [-1, 2], [20]])
def test_what_is_no_subset_is_refused(positions: list[int]) -> None:
    with pytest.raises(UsageError, match=f"{len(positions)} positions .* are no subset of the 20 samples"):
        subset(split_of([0, 1] * 10), np.array(positions, dtype=np.int64))


def test_any_nesting_is_cut_where_its_tensors_have_samples() -> None:
    batches = [
        {"x": (torch.arange(low, low + 3), [torch.eye(3)[:, :2]]), "scale": torch.ones(7), "note": "n", "y": ones}
        for low, ones in ((0, torch.ones(3)), (3, torch.ones(3)))
    ]
    wrapper = ModelWrapper(nn.Linear(1, 1), train_data=batches, batch_loss=lambda model, batch: batch["y"])
    found = subset(wrapper.split("train"), np.array([1, 3, 5]), batch_size=100)
    # The scale belongs to its batch, so these can't be joined.
    first, second = (batch.data for batch in found.batches())
    assert (first["x"][0].tolist(), second["x"][0].tolist()) == ([1], [3, 5])
    assert second["x"][1][0].tolist() == [[1, 0], [0, 0]]
    assert (len(second["scale"]), second["note"], len(second["y"])) == (7, "n", 2)


class Counting(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, net: Any) -> None:
        self.net, self.reads = net, 0

    def __len__(self) -> int:
        return 22

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.reads += 1
        return self.net.inputs[index], self.net.classes[index]


def test_kept_data_is_cut_once_and_data_that_is_read_again_stays_so(network, monkeypatch) -> None:
    net = network("mlp")
    positions = np.array([0, 1, 9, 10, 16])
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    kept = subset(wrapper.split("train", 4), positions, batch_size=3)
    assert kept.batches() is kept.batches()
    monkeypatch.setattr(split_data, "_KEPT_BYTES", 100)
    dataset = Counting(net)
    read = subset(ModelWrapper(net.model, nn.CrossEntropyLoss(), dataset).split("train", 4), positions, batch_size=3)
    before = dataset.reads
    for found, expected in zip(read.batches(), kept.batches(), strict=True):
        assert all(torch.equal(left, right) for left, right in zip(found.data, expected.data, strict=True))
    # Not beyond the batch with the last of them.
    assert dataset.reads == before + 20
    assert (read.num_samples, read.num_batches) == (kept.num_samples, kept.num_batches) == (5, 2)


@pytest.mark.parametrize("form", ["pair", "dataset", "loader", "list"])
@pytest.mark.parametrize("kept_bytes", [100, 2**31])
def test_the_loss_is_the_users_own_on_exactly_those_samples(network, monkeypatch, form: str, kept_bytes: int) -> None:
    monkeypatch.setattr(split_data, "_KEPT_BYTES", kept_bytes)
    net = network("mlp")
    dataset = TensorDataset(*net.data)
    data, batch_size = {
        "pair": (net.data, 5),
        "dataset": (dataset, 5),
        "loader": (DataLoader(dataset, batch_size=5), None),
        "list": (list(zip(net.inputs.split(5), net.classes.split(5), strict=True)), None),
    }[form]
    loss_fn = nn.CrossEntropyLoss(weight=torch.tensor([0.3, 1.0, 4.0]))
    wrapper = ModelWrapper(net.model, loss_fn, data, (net.inputs[:6], net.classes[:6]))
    settings = EvaluationSettings(batch_size=batch_size, samples=9)
    found = RandomDirectionSlicer(wrapper, split="both", settings=settings, progress=False).slice_1d(n_samples=3)
    chosen = np.sort(stratified_order(wrapper.split("train"), 0)[:9])
    model = copy.deepcopy(net.model).eval()
    with torch.no_grad():
        expected = loss_fn(model(net.inputs[chosen]), net.classes[chosen]).item()
        whole = loss_fn(model(net.inputs), net.classes).item()
        small = loss_fn(model(net.inputs[:6]), net.classes[:6]).item()
    assert found.center is not None
    assert found.center.loss == pytest.approx({"train": expected, "test": small}, rel=1e-6)
    assert found.center.whole_loss == pytest.approx({"train": whole}, rel=1e-6)
    assert found.loss[1] == pytest.approx(expected, rel=1e-6)
    assert found.array(role="count").tolist() == [9, 9, 9]
    evaluation = found.evaluation
    assert (evaluation["samples"], evaluation["samples_of"]) == ({"train": 9, "test": 6}, {"train": 22, "test": 6})
    # Joined: all five batches of 22 have some of the 9.
    assert evaluation["batches"]["train"] < 5


def test_a_loss_that_is_not_known_to_be_a_sum_keeps_its_partition(network) -> None:
    net = network("mlp")
    own = lambda output, target: F.cross_entropy(output, target, reduction="none")  # noqa: E731 - unknown to the library
    batches = {
        loss_fn: ModelWrapper(net.model, loss_fn, net.data).split("train", 2, 8).num_batches
        for loss_fn in (own, nn.CrossEntropyLoss())
    }
    assert batches[own] > 4
    assert list(batches.values())[1] <= 5


def test_all_samples_or_more_are_the_whole_split(network) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    for samples in (22, 1000):
        assert wrapper.split("train", 5, samples) is wrapper.split("train", 5)
    found = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(samples=22), progress=False).slice_1d(
        n_samples=2
    )
    assert found.center is not None
    assert found.center.whole_loss == {}


def test_no_samples_and_coupled_samples_are_refused(network) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    for samples in (0, -1):
        with pytest.raises(UsageError, match=f"--samples {samples} is not a number of samples"):
            wrapper.split("train", samples=samples)
    wrapper.batch_coupled = True
    with pytest.raises(UsageError, match=r"--samples 5 would cut batches whose samples the loss couples"):
        wrapper.split("train", samples=5)


def test_batchnorm_is_recomputed_on_all_samples(network) -> None:
    net = network("convolution")
    chosen = np.sort(stratified_order(ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data).split("train"), 0)[:9])
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data, (net.inputs[chosen], net.classes[chosen]))
    options = SliceOptions(grid=(3,), batchnorm="recompute")

    def losses(split: str, samples: int | None) -> np.ndarray:
        slicer = RandomDirectionSlicer(
            wrapper, split=split, settings=EvaluationSettings(samples=samples), progress=False
        )
        return slicer.take("random1d", Random1D(), None, options).loss

    np.testing.assert_allclose(losses("train", 9), losses("test", None), rtol=1e-6)
    assert np.abs(losses("train", 9) - losses("train", None)).max() > 1e-3


def test_arrays_of_numpy_are_cut_as_tensors_are() -> None:
    torch.manual_seed(0)
    batches = [(torch.randn(n, 1), np.arange(1.0, n + 1.0), torch.randint(0, 3, (n,))) for n in (8, 7)]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        inputs, weights, targets = batch
        return F.cross_entropy(model(inputs), targets, reduction="none") * torch.from_numpy(weights)

    model = nn.Linear(1, 3)
    wrapper = ModelWrapper(model, None, batches, batch_loss=loss)
    part = subset(wrapper.split("train"), np.array([0, 3, 9, 14]))
    cut = [batch.data[1].tolist() for batch in part.batches()]
    assert cut == [[1.0, 4.0], [2.0, 7.0]]
    found = [loss(model, batch.data) for batch in part.batches()]
    whole = torch.cat([loss(model, batch) for batch in batches])
    torch.testing.assert_close(torch.cat(found), whole[[0, 3, 9, 14]])
