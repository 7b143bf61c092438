"""Batches held by what tokenizers and collate functions give, beside tuples, lists and dictionaries."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, UserDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import DataError
from slicer_core.subject import Batch
from slicer_core.subject.nesting import flatten, map_leaves, unflatten


class Named(UserDict[str, Any]):
    """With an attribute of its own, and entries as attributes, as tokenizers' batches have them."""

    def __init__(self, data: Any, source: str = "here") -> None:
        super().__init__(data)
        self.source = source

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None


class Dotted(dict[str, Any]):
    __getattr__ = dict.__getitem__


class OwnAttributes(dict[str, Any]):
    """Its entries are its attributes, as many configurations and batches have it."""

    def __init__(self, *args: Any, **entries: Any) -> None:
        super().__init__(*args, **entries)
        self.__dict__ = self


class Ordered(OrderedDict[str, Any]):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Tensor
    y: Tensor
    source: str = "here"


@dataclasses.dataclass(slots=True)
class Slotted:
    x: Tensor
    y: Tensor


def encoding(x: Tensor, y: Tensor) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.BatchEncoding({"x": x, "y": y})


KINDS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "user dictionary": lambda x, y: Named({"x": x, "y": y}),
    "derived dictionary": lambda x, y: Dotted({"x": x, "y": y}),
    "entries as attributes": lambda x, y: OwnAttributes(x=x, y=y),
    "ordered dictionary": lambda x, y: Ordered(x=x, y=y),
    "frozen dataclass": Frozen,
    "dataclass with slots": Slotted,
    "encoding of transformers": encoding,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", ["loop", "vmap", "partial", "partial-vmap", "streaming"])
@pytest.mark.parametrize("samples", [None, 9])
def test_a_batch_in_any_container_gives_the_numbers_of_a_dictionary(kind, strategy, samples, network) -> None:
    net = network("mlp")
    make, seen = KINDS[kind], set[type]()

    def loss(model: nn.Module, batch: Any) -> Tensor:
        seen.add(type(batch))
        return F.cross_entropy(model(batch.x), batch.y, reduction="none")

    def plain(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch["x"]), batch["y"], reduction="none")

    edges = [slice(start, start + 8) for start in range(0, 22, 8)]
    settings = EvaluationSettings(strategy=strategy, samples=samples)

    def losses(batch_loss: Any, make: Any) -> np.ndarray:
        batches = [make(net.inputs[edge], net.classes[edge]) for edge in edges]
        wrapper = ModelWrapper(net.model, train_data=batches, batch_loss=batch_loss)
        found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=3)
        assert found.evaluation["strategy"] == strategy
        return np.stack([found.loss, found.array(role="stderr")])

    expected = losses(plain, lambda x, y: {"x": x, "y": y})
    # The layout of a point's arithmetic is chosen by timing.
    np.testing.assert_allclose(losses(loss, make), expected, rtol=1e-6)
    assert seen == {type(make(net.inputs, net.classes))}


def test_a_loader_that_collates_as_a_tokenizer_pads(network) -> None:
    transformers = pytest.importorskip("transformers")
    net = network("mlp")

    def collate(samples: list[Any]) -> Any:
        inputs, labels = zip(*samples, strict=True)
        return transformers.BatchEncoding({"inputs": torch.stack(inputs), "labels": torch.stack(labels)})

    loader: Any = DataLoader(list(zip(net.inputs, net.classes, strict=True)), batch_size=8, collate_fn=collate)  # type: ignore[arg-type]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch.inputs), batch["labels"])

    found = RandomDirectionSlicer(ModelWrapper(net.model, train_data=loader, batch_loss=loss), progress=False).slice_1d(
        n_samples=3
    )
    expected = F.cross_entropy(net.model.eval()(net.inputs), net.classes).item()
    assert found.loss[1] == pytest.approx(expected, rel=2e-6)
    assert found.evaluation["samples"] == {"train": 22}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_taken_apart_is_put_together_as_it_was(kind) -> None:
    x, y = torch.arange(6.0).reshape(2, 3), torch.tensor([0, 1])
    batch = ("first", [KINDS[kind](x, y)], {"deep": KINDS[kind](x, {"y": (y, None)})})
    leaves, structure = flatten(batch)
    assert [type(leaf) for leaf in leaves].count(Tensor) == 4
    again = unflatten(leaves, structure)
    assert [type(again[1][0]), type(again[2]["deep"])] == [type(batch[1][0])] * 2
    assert again[1][0].x is x
    assert again[2]["deep"].y["y"][0] is y
    assert flatten(again)[1] == structure
    assert getattr(again[1][0], "__dict__", {}).get("source") == getattr(batch[1][0], "__dict__", {}).get("source")
    doubled = map_leaves(lambda leaf: 2 * leaf if isinstance(leaf, Tensor) else leaf, batch)
    assert torch.equal(doubled[1][0].x, 2 * x)
    assert torch.equal(batch[1][0].x, torch.arange(6.0).reshape(2, 3))


def test_containers_with_other_names_are_of_another_structure() -> None:
    tensor = torch.zeros(2)
    of_x, of_z = (flatten(Named({name: tensor}))[1] for name in "xz")
    assert of_x != of_z
    assert repr(of_x) != repr(of_z)
    assert of_x == flatten(Named({"x": tensor}, source="elsewhere"))[1]


def test_torch_is_not_told_of_the_classes_and_what_it_knows_stays_its_own() -> None:
    batch = Named({"x": torch.zeros(2)})
    flatten(batch)
    assert pytree.tree_leaves(batch) == [batch]
    known = {"b": (torch.zeros(1), [1, None]), "a": torch.ones(1)}
    assert flatten(known)[1] == pytree.tree_structure(known)
    assert Batch(data=known, num_samples=1).data is known


@dataclasses.dataclass
class Derived:
    """Keeps what it has computed of its entries."""

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        self.scaled = 2 * self.x


def test_what_keeps_tensors_beside_its_entries_is_refused_since_parts_of_it_would_have_those_of_the_whole(
    network,
) -> None:
    net = network("mlp")

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch.scaled), batch.y)

    wrapper = ModelWrapper(net.model, train_data=[Derived(net.inputs, net.classes)], batch_loss=loss)
    with pytest.raises(DataError, match="holds no tensor with a dimension, found Derived"):
        RandomDirectionSlicer(wrapper, progress=False).slice_1d(n_samples=3)
