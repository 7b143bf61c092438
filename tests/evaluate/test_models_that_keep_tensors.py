"""Modules that keep what they made of their parameters until train mode, as LeViT keeps its attention biases."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import CustomSlicer, EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import DataError
from slicer_core.subject.attributes import Attributes

PROGRAM: dict[str, Any] = {}
"""What a program has besides its model."""


class Note:
    """An object of the program."""


def remembering() -> Any:
    """A function that goes on giving what it was given first."""
    kept = None

    def remember(given: Tensor) -> Tensor:
        nonlocal kept
        kept = given if kept is None else kept
        return kept

    return remember


class Keeping(nn.Module):
    """`kind`: where it keeps a bias of each unit, made of a table."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
        self.table = nn.Parameter(torch.randn(3))
        self.kind, self.kept, self.by_size = kind, None, {}

    def train(self, mode: bool = True) -> Keeping:
        super().train(mode)
        if mode:
            self.kept, self.by_size = None, {}
        return self

    def forward(self, features: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(features) + self.bias(len(features))))

    def bias(self, size: int) -> Tensor:
        if self.training or self.kind == "nothing":
            return self.table.repeat(2)
        if self.kind == "function":
            return self._made()
        if self.kind == "program":
            return PROGRAM["bias"] if "bias" in PROGRAM else PROGRAM.setdefault("bias", self.table.repeat(2))
        if self.kind == "pair":
            return PROGRAM.setdefault("pair", (self.table.repeat(2), size))[0]
        if self.kind == "object":
            note = PROGRAM["note"]
            note.bias = self.table.repeat(2) if note.bias is None else note.bias
            return note.bias
        if self.kind == "closure":
            return PROGRAM["remember"](self.table.repeat(2))
        if self.kind == "never cleared":
            self.by_size["own"] = own = self.by_size.get("own") or [None]
            own[0] = self.table.repeat(2) if own[0] is None else own[0]
            return own[0]
        if self.kind == "attribute":
            self.kept = self.table.repeat(2) if self.kept is None else self.kept
            return self.kept
        return self.by_size.setdefault("bias", {}).setdefault(size, self.table.repeat(2))

    @functools.cache  # noqa: B019 - what is tested
    def _made(self) -> Tensor:
        return self.table.repeat(2)


@pytest.mark.parametrize(
    ("kind", "strategy", "used_before"),
    [
        ("attribute", "loop", True),
        ("attribute", "partial-vmap", True),
        ("attribute", "streaming", False),
        ("dictionary", "partial", True),
        ("dictionary", "vmap", False),
    ],
)
def test_what_is_kept_at_one_point_is_not_read_at_another(kind: str, strategy: Any, used_before: bool) -> None:
    model, inputs, classes = Keeping(kind), torch.randn(10, 4), torch.randint(0, 3, (10,))
    plain = copy.deepcopy(model).double()
    plain.kind = "nothing"
    if used_before:
        model.eval()(inputs)
        with torch.no_grad():
            for tensor in (model.table, plain.table):
                tensor += 1
    kept, by_size = model.kept, dict(model.by_size)
    direction = torch.tensor([1.0, -2.0, 0.5])
    settings = EvaluationSettings(strategy=strategy, batch_size=4)
    slicer = CustomSlicer(
        ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, classes)), settings=settings, progress=False
    )
    found = slicer.slice([{"table": direction}], grid_size=5)
    expected, start = [], plain.table.detach().clone()
    for alpha in found.axes[0].values:
        with torch.no_grad():
            plain.table.copy_(start + alpha * direction)
            expected.append(F.cross_entropy(plain(inputs.double()), classes).item())
    np.testing.assert_allclose(found.loss, expected, rtol=2e-5)
    assert found.evaluation["strategy"] == strategy
    assert model.kept is kept
    assert list(map(id, model.by_size.values())) == list(map(id, by_size.values()))


@pytest.mark.parametrize("kind", ["attribute", "dictionary"])
def test_gradients_at_all_points(kind: str) -> None:
    model, data = Keeping(kind), (torch.randn(10, 4), torch.randint(0, 3, (10,)))
    plain = copy.deepcopy(model)
    plain.kind = "nothing"
    norms = []
    for each in (model, plain):
        wrapper = ModelWrapper(each, nn.CrossEntropyLoss(), data)
        slicer = RandomDirectionSlicer(wrapper, measures=("gradient_norm", "sam_sharpness"), progress=False)
        found = slicer.slice_1d(n_samples=3, ignore="none")
        (array,) = (array.values for array in found.arrays if array.name == "gradient_norm")
        norms.append([*array, found.measures["sam_sharpness"].value])
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-4)


def test_what_is_kept_out_of_reach_is_an_error_each_time() -> None:
    data = (torch.randn(10, 4), torch.randint(0, 3, (10,)))
    model = Keeping("function")
    for _ in range(2):
        slicer = RandomDirectionSlicer(ModelWrapper(model, nn.CrossEntropyLoss(), data), progress=False)
        with pytest.raises(DataError, match="keeps what it made of table in one pass and reads that in later ones"):
            slicer.slice_1d(n_samples=3)
    Keeping._made.cache_clear()


@pytest.mark.parametrize("with_graph", [True, False])
@pytest.mark.parametrize("kind", ["function", "program", "pair", "object", "closure", "never cleared"])
def test_what_was_kept_before_the_first_slice_is_an_error(kind: str, with_graph: bool) -> None:
    PROGRAM.update(note=Note(), remember=remembering())
    PROGRAM["note"].bias = None
    data, model = (torch.randn(10, 4), torch.randint(0, 3, (10,))), Keeping(kind).eval()
    with torch.set_grad_enabled(with_graph):
        expected = model(data[0]).detach()
    kept = {name: entry for name, entry in PROGRAM.items() if isinstance(entry, (Tensor, tuple))}
    model.train = nn.Module.train.__get__(model)  # lets nothing go
    slicer = RandomDirectionSlicer(ModelWrapper(model, nn.CrossEntropyLoss(), data), progress=False)
    with pytest.raises(DataError, match="keeps what it made of table in one pass and reads that in later ones"):
        slicer.slice_1d(n_samples=3)
    assert all(PROGRAM[name] is entry for name, entry in kept.items())
    assert torch.equal(model(data[0]), expected)
    Keeping._made.cache_clear()
    PROGRAM.clear()


def test_constants_beside_a_parameter_that_has_no_part_in_the_loss_are_none() -> None:
    """An anchor that the parameters were copied to, and class weights that a loss has made once."""
    data, model = (torch.randn(10, 4), torch.randint(0, 3, (10,))), Keeping("nothing")
    model.unused = nn.Linear(4, 4)
    anchors, made = [parameter.clone() for parameter in model.parameters()], {}

    def batch_loss(network: nn.Module, batch: Any) -> Tensor:
        weights = made["weights"] if "weights" in made else made.setdefault("weights", torch.tensor([1.0, 2.0, 0.5]))
        own = [parameter for name, parameter in network.named_parameters() if not name.startswith("unused")]
        penalty = sum((new - old).square().sum() for new, old in zip(own, anchors[: len(own)], strict=True))
        losses = F.cross_entropy(network(batch[0]), batch[1], reduction="none")
        return weights[batch[1]] * losses + penalty

    batch_loss(model, data)
    before = [*anchors, made["weights"]]
    wrapper = ModelWrapper(model, train_data=data, batch_loss=batch_loss)
    slicer = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(strategy="loop"), progress=False)
    found = slicer.slice_1d(n_samples=3)
    assert found.loss[0] > found.loss[1] < found.loss[2]
    assert all(one is other for one, other in zip([*anchors, made["weights"]], before, strict=True))


def test_a_stream_is_told_too() -> None:
    data = (torch.randn(10, 4), torch.randint(0, 3, (10,)))
    wrapper = ModelWrapper(Keeping("function"), nn.CrossEntropyLoss(), data)
    slicer = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(strategy="streaming"), progress=False)
    with pytest.raises(DataError, match="keeps what it made of table"):
        slicer.slice_1d(n_samples=3)
    Keeping._made.cache_clear()


def test_containers_have_what_they_had() -> None:
    module = nn.Linear(2, 2)
    own = vars(module)
    own |= {"one": {"a": 1}, "two": [1, 2], "three": {1}, "four": OrderedDict(b=2), "five": list(range(2000))}
    before = copy.deepcopy({name: own[name] for name in ("one", "two", "three", "four", "five")})
    identities = {name: id(own[name]) for name in before}
    attributes = Attributes(module)

    def disturb(entry: Any) -> None:
        own["one"]["new"] = own["two"][0] = entry
        own["three"].add(3), own["four"].pop("b"), own["five"].append(entry)
        own["six"] = entry

    disturb(torch.ones(1))
    attributes.forget()
    assert {name: own[name] for name in before} == before
    assert "six" not in own
    # What is no tensor, as a function that was compiled, stays until the end, and a note in a list beyond it.
    disturb(len)
    attributes.forget()
    assert own["six"] is len
    attributes.put_back()
    assert own["two"] == [len, 2]
    assert "six" not in own
    own["two"][0] = 1
    own["one"].pop("new"), own["three"].discard(3), own["four"].update(b=2), own["five"].pop()
    disturb(torch.ones(1))
    attributes.put_back()
    assert {name: own[name] for name in before} == before
    assert {name: id(own[name]) for name in before} == identities
    assert "six" not in own
