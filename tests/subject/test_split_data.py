from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import DataError, ModuleError, UsageError, UserCodeError
from slicer_core.slices import Slice
from slicer_core.subject import data as split_data


def center_loss(found: Slice, split: str = "train") -> float:
    assert found.center is not None
    return found.center.loss[split]


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Noise is drawn at each reading, as random crops are."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.randn(5), torch.tensor(index % 3)


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __init__(self, inputs: Tensor, classes: Tensor) -> None:
        self.inputs, self.classes = inputs, classes

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.inputs, self.classes, strict=True)


class Batches:
    """Any object that can be iterated anew."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def losses(net: Any, data: Any, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), data)
    found = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(**settings), progress=False).slice_1d(
        n_samples=3
    )
    return found.loss, found.array(role="stderr")


def in_batches(net: Any, size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(net.inputs.split(size), net.classes.split(size), strict=True))


def test_every_form_of_the_same_data_gives_the_same_numbers(network) -> None:
    net = network("mlp")
    dataset = TensorDataset(net.inputs, net.classes)
    forms: list[tuple[Any, dict[str, Any]]] = [
        ((net.inputs, net.classes), {"batch_size": 8}),
        ([net.inputs, net.classes], {"batch_size": 8}),
        (dataset, {"batch_size": 8}),
        (Stream(net.inputs, net.classes), {"batch_size": 8}),
        (DataLoader(dataset, batch_size=8), {}),
        (DataLoader(dataset, batch_size=8), {"batch_size": 8}),
        (in_batches(net, 8), {}),
        (tuple(in_batches(net, 8)), {}),
        (Batches(in_batches(net, 8)), {}),
        ([list(batch) for batch in in_batches(net, 8)], {}),
    ]
    expected = losses(net, *forms[0][:1], **forms[0][1])
    for data, settings in forms[1:]:
        for found, wanted in zip(losses(net, data, **settings), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_data_too_large_to_keep_is_read_again_and_gives_the_same_numbers(network, monkeypatch) -> None:
    net = network("mlp")
    loader = DataLoader(TensorDataset(net.inputs, net.classes), batch_size=5)
    kept = losses(net, loader)
    monkeypatch.setattr(split_data, "_KEPT_BYTES", 100)
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), loader)
    assert not isinstance(wrapper.split("train").batches(), list)
    np.testing.assert_array_equal(losses(net, loader), kept)


@pytest.mark.parametrize(
    "data",
    [
        DataLoader(TensorDataset(torch.randn(12, 5), torch.arange(12) % 3), batch_size=6, shuffle=True),
        DataLoader(Augmented(), batch_size=3),
        Augmented(),
    ],
    ids=["shuffled", "augmented loader", "augmented dataset"],
)
def test_data_that_changes_between_readings_is_refused_with_the_way_out(data, network) -> None:
    for _ in range(2):
        with pytest.raises(DataError, match=r"differs from one reading .*shuffle=False"):
            losses(network("mlp"), data)


def test_changes_within_a_long_numpy_array_are_seen_too() -> None:
    class Shuffled:
        def __iter__(self) -> Iterator[dict[str, Any]]:
            images = np.zeros((40, 60), dtype=np.float32)
            images[5:-5] = np.random.default_rng().random((30, 60))
            yield {"images": images, "names": np.array(["a", None], dtype=object), "y": torch.zeros(40)}

    wrapper = ModelWrapper(nn.Linear(60, 1), train_data=Shuffled(), batch_loss=lambda model, batch: batch["y"])
    with pytest.raises(DataError, match="differs from one reading"):
        wrapper.split("train")
    fixed = list(Shuffled())
    once, again = (
        ModelWrapper(nn.Linear(60, 1), train_data=fixed, batch_loss=lambda model, batch: batch["y"])
        .split("train")
        .fingerprint
        for _ in range(2)
    )
    assert once == again


def test_an_iterator_is_refused(network) -> None:
    net = network("mlp")
    for data in (iter(in_batches(net, 8)), (batch for batch in in_batches(net, 8))):
        with pytest.raises(DataError, match="read only once"):
            losses(net, data)


@pytest.mark.parametrize(
    "data",
    [
        (torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)),
        [],
        TensorDataset(torch.zeros(0, 5), torch.zeros(0)),
        Batches([]),
    ],
)
def test_empty_data_is_refused(data, network) -> None:
    with pytest.raises(DataError, match="empty"):
        losses(network("mlp"), data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((torch.zeros(4, 5), torch.zeros(3)), r"\[4, 3\] samples"),
        (torch.zeros(4, 5), "is a Tensor"),
        ({"x": torch.zeros(4, 5)}, "is a dict"),
        ("data.pt", "is a str"),
        (7, "is a int"),
        ([(1, 2)], "holds no tensor with a dimension"),
        ([torch.zeros(4, 5)], r"a batch is \(inputs…, target\), found Tensor"),
        ([(torch.zeros(5), torch.tensor(1))] * 4, "single samples"),
        ([(torch.eye(4).to_sparse(), torch.zeros(4))], "holds a sparse tensor: give it dense"),
        (
            [(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), torch.zeros(2))],
            r"holds a nested \(jagged\) tensor: pad",
        ),
    ],
)
def test_what_is_no_data_is_refused(data, message, network) -> None:
    with pytest.raises(DataError, match=message):
        losses(network("mlp"), data)


def test_an_error_of_the_users_dataset_is_passed_on(network) -> None:
    class Broken(Dataset[Tensor]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Tensor:
            raise KeyError("no such image")

    with pytest.raises(UserCodeError, match=r"reading the train data raised KeyError: .*no such image") as caught:
        losses(network("mlp"), Broken())
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_batch_size_that_can_not_be_had_is_refused(network) -> None:
    net = network("mlp")
    for data in (DataLoader(TensorDataset(*net.data), batch_size=8), in_batches(net, 8)):
        with pytest.raises(DataError, match="--batch-size 4 can't change"):
            losses(net, data, batch_size=4)
    for size in (0, -3):
        with pytest.raises(UsageError, match=f"batch_size={size} is not a number of samples: give 1 or more"):
            losses(net, net.data, batch_size=size)


@pytest.mark.parametrize("loss", ["samples", "mean"])
def test_batches_without_samples_add_nothing(loss, network) -> None:
    """As a collate function leaves them that filters samples out."""
    net = network("mlp")
    edges = [(0, 0), (0, 9), (9, 9), (9, 22), (22, 22)]
    batches = [(net.inputs[start:stop], net.classes[start:stop]) for start, stop in edges]
    chosen: dict[str, Any] = {"loss_fn": nn.CrossEntropyLoss()}
    if loss == "mean":
        chosen = {"batch_loss": lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1])}
    found = RandomDirectionSlicer(ModelWrapper(net.model, train_data=batches, **chosen), progress=False).slice_1d(
        n_samples=3
    )
    expected = nn.functional.cross_entropy(net.model(net.inputs), net.classes).item()
    assert found.loss[1] == pytest.approx(expected, rel=2e-6)
    assert found.evaluation["samples"] == {"train": 22}
    assert found.evaluation["batches"] == {"train": 2}


def test_a_list_of_tensors_has_a_batch_in_each_for_a_batch_loss(network) -> None:
    """Blocks of tokens of the same shape, as for a language model."""
    net = network("attention")
    blocks = [net.inputs[:11], net.inputs[11:]]

    def batch_loss(model: nn.Module, tokens: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(tokens), tokens, reduction="none").mean(dim=1)

    wrapper = ModelWrapper(net.model, train_data=blocks, batch_loss=batch_loss)
    data = wrapper.split("train")
    assert (data.num_samples, data.num_batches) == (22, 2)
    found = RandomDirectionSlicer(wrapper, progress=False).slice_1d(n_samples=3)
    with torch.no_grad():
        expected = batch_loss(net.model.eval(), net.inputs).mean().item()
    assert center_loss(found) == pytest.approx(expected, rel=1e-6)


def test_a_nested_batch_is_passed_on_as_it_is(network) -> None:
    net = network("mlp")
    batches = [{"inputs": {"x": x}, "labels": y, "note": "text"} for x, y in in_batches(net, 6)]

    def batch_loss(model: nn.Module, batch: dict[str, Any]) -> Tensor:
        assert batch["note"] == "text"
        return nn.functional.cross_entropy(model(batch["inputs"]["x"]), batch["labels"])

    wrapper = ModelWrapper(net.model, train_data=batches, batch_loss=batch_loss)
    found = RandomDirectionSlicer(wrapper, progress=False).slice_1d(n_samples=3)
    np.testing.assert_allclose(found.loss, losses(net, in_batches(net, 6))[0], rtol=1e-6)


def test_several_inputs_come_before_the_target() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Bilinear(2, 3, 1)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.layer(left, right)

    model, data = Pair(), (torch.randn(9, 2), torch.randn(9, 3), torch.randn(9, 1))
    wrapper = ModelWrapper(model, nn.MSELoss(), data)
    found = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(batch_size=4), progress=False).slice_1d(
        n_samples=2
    )
    with torch.no_grad():
        expected = nn.functional.mse_loss(model(data[0], data[1]), data[2]).item()
    assert center_loss(found) == pytest.approx(expected, rel=1e-6)


def test_fingerprints_tell_values_and_shapes_apart(network) -> None:
    net = network("mlp")

    def fingerprint(inputs: Tensor, classes: Tensor) -> str:
        return ModelWrapper(net.model, nn.CrossEntropyLoss(), (inputs, classes)).split("train").fingerprint

    changed = net.inputs.clone()
    changed[-1, -1] = torch.nextafter(changed[-1, -1], torch.tensor(9.0))
    same = fingerprint(net.inputs.clone(), net.classes)
    assert same == fingerprint(net.inputs, net.classes)
    others = {
        fingerprint(changed, net.classes),
        fingerprint(net.inputs.double(), net.classes),
        fingerprint(*net.data[::-1]),
    }
    assert len(others | {same}) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": lambda x: x, "loss_fn": nn.MSELoss(), "train_data": ()}, "expected a torch.nn.Module"),
        ({"model": nn.Linear(1, 1), "train_data": ()}, "either loss_fn"),
        ({"model": nn.LazyLinear(2), "loss_fn": nn.MSELoss(), "train_data": ()}, "weight has no shape yet: run"),
        ({"model": nn.Linear(1, 1), "loss_fn": nn.MSELoss(), "batch_loss": print, "train_data": ()}, "either loss_fn"),
        ({"model": nn.Linear(1, 1), "loss_fn": nn.MSELoss()}, "give train_data"),
        ({"model": nn.Linear(1, 1), "batch_loss": print, "train_data": (), "metrics": {"a": print}}, "metrics need"),
        ({"model": nn.Linear(1, 1), "loss_fn": print, "train_data": (), "metrics": {"loss": print}}, "'loss'"),
    ],
)
def test_a_wrapper_refuses_what_can_not_be(arguments, message) -> None:
    with pytest.raises(ModuleError, match=message):
        ModelWrapper(**arguments)


def test_parameters_come_as_copies_and_random_ones_by_seed(network) -> None:
    model = network("attention").model
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), network("attention").data)
    parameters = wrapper.get_parameters()
    assert list(parameters) == [name for name, _ in model.named_parameters()]
    parameters["embed.weight"].fill_(9.0)
    assert not (model.embed.weight == 9.0).any()
    assert not parameters["embed.weight"].requires_grad
    first, again, other = (wrapper.get_random_parameters(0.5, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embed.weight"], other["embed.weight"])
    moved = torch.cat([(first[name] - p.detach()).reshape(-1) for name, p in model.named_parameters()])
    assert moved.std().item() == pytest.approx(0.5, rel=0.2)
    free = [wrapper.get_random_parameters(0.5)["embed.weight"] for _ in range(2)]
    assert not torch.equal(*free)


def test_a_split_that_is_not_there_is_refused(network) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    for split in ("test", "both", "validation"):
        with pytest.raises(UsageError, match=r"there is no (test|validation) data"):
            RandomDirectionSlicer(wrapper, split=split, progress=False).slice_1d(n_samples=2)


def test_both_splits_are_evaluated_at_the_same_points(network, reference, plain_direction, close_to_float64) -> None:
    net = network("mlp")
    test = (net.inputs[:9] * 2, net.classes[:9])
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data, test)
    found = RandomDirectionSlicer(wrapper, split="both", progress=False).slice_1d(n_samples=3)
    direction = plain_direction({n: p.detach() for n, p in net.model.named_parameters()}, seed=0, axis=0)
    for split, data in (("train", net.data), ("test", test)):
        expected = reference(net.model, nn.CrossEntropyLoss(), data).along([direction], [(-1.0,), (0.0,), (1.0,)])
        close_to_float64(found.array(split=split), expected)
    assert found.splits == ("train", "test")
