"""Small batches are put together, and give the numbers that they give one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate import joining
from slicer_core.evaluate.joining import joined
from slicer_core.slices import Slice
from slicer_core.subject import Batch


@pytest.fixture
def small_batches_are_joined() -> bool:
    return True


def plane(wrapper: ModelWrapper, strategy: Any, batch_size: int | None = None) -> Slice:
    settings = EvaluationSettings(strategy=strategy, batch_size=batch_size)
    return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_2d(grid_size=3)


class Sizes:
    """Notes how many samples each pass has."""

    def __init__(self, model: nn.Module) -> None:
        self.seen: list[int] = []
        model.register_forward_pre_hook(lambda _, inputs: self.seen.append(len(inputs[0])))


@pytest.mark.parametrize("strategy", ["auto", "vmap", "partial", "partial-vmap"])
@pytest.mark.parametrize("name", ["mlp", "convolution"])
def test_the_numbers_are_those_of_the_loop_on_the_users_batches(
    name: str, strategy: str, network: Callable[[str], Any]
) -> None:
    net = network(name)
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    sizes = Sizes(net.model)
    expected = plane(wrapper, "loop", batch_size=4)
    # And the halves of one for the checks, and what is left at the end.
    assert max(sizes.seen) == 4
    found = plane(wrapper, strategy, batch_size=4)
    assert max(sizes.seen) == len(net.data[0])
    for ours, theirs in zip(found.arrays, expected.arrays, strict=True):
        np.testing.assert_allclose(ours.values, theirs.values, rtol=2e-5, atol=1e-7)
    assert found.evaluation["batches"] == expected.evaluation["batches"]


def test_weights_that_outweigh_the_activations_are_combined_for_few_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    # A core's cache would hold no two of these batches.
    monkeypatch.setattr(joining, "_LEAST_BYTES", {"cpu": 1})
    model = nn.Sequential(nn.EmbeddingBag(5000, 8), nn.Linear(8, 2))
    data = [(torch.randint(0, 5000, (20, 3)), torch.randint(0, 2, (20,))) for _ in range(10)]
    wrapper, sizes = ModelWrapper(model, nn.CrossEntropyLoss(), data), Sizes(model)
    expected = plane(wrapper, "loop")
    found = plane(wrapper, "auto")
    assert max(sizes.seen) == 200
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-6)


def test_what_is_large_stays_as_it_is(network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "_LEAST_BYTES", {"cpu": 1})
    monkeypatch.setattr(joining, "_MOST_BYTES", 2000)
    net = network("mlp")
    wrapper, sizes = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data), Sizes(net.model)
    plane(wrapper, "auto", batch_size=10)
    assert max(sizes.seen) == 10


class DependsOnTheSize(nn.Module):
    """In batches of more than six samples each score is another, which halves of six do not show."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.layer(x)
        return scores if len(x) <= 6 else 2 * scores


class OneSize(DependsOnTheSize):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 6:
            raise ValueError("at most six")
        return self.layer(x)


@pytest.mark.parametrize("kind", [DependsOnTheSize, OneSize])
def test_batches_that_give_other_terms_together_stay_apart(kind: type[nn.Module]) -> None:
    wrapper = ModelWrapper(kind(), nn.CrossEntropyLoss(), (torch.randn(24, 4), torch.randint(0, 3, (24,))))
    expected = plane(wrapper, "loop", batch_size=6)
    for strategy in ("auto", "partial"):
        np.testing.assert_allclose(plane(wrapper, strategy, batch_size=6).loss, expected.loss, rtol=1e-6)


def test_a_loss_that_couples_its_samples_keeps_its_batches() -> None:
    model = nn.Linear(4, 3)

    def coupled(scores: Tensor, classes: Tensor) -> Tensor:
        return nn.functional.cross_entropy(scores - scores.mean(0), classes)

    data = torch.randn(24, 4), torch.randint(0, 3, (24,))
    wrapper = ModelWrapper(model, coupled, data, batch_coupled=True)
    sizes = Sizes(model)
    expected, found = plane(wrapper, "loop", batch_size=6), plane(wrapper, "auto", batch_size=6)
    assert max(sizes.seen) == 6
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-6)


def test_input_that_only_a_later_batch_has_changed_is_put_back_in_the_next_slice_too() -> None:
    class Clamps(DependsOnTheSize):
        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.clamp_(max=2.0) if x.max() > 2 else x)

    inputs = torch.rand(24, 4)
    inputs[20] = 3.0
    wrapper = ModelWrapper(Clamps(), nn.CrossEntropyLoss(), (inputs, torch.randint(0, 3, (24,))))
    expected = plane(wrapper, "loop", batch_size=6).loss
    for _ in range(2):
        np.testing.assert_allclose(plane(wrapper, "auto", batch_size=6).loss, expected, rtol=1e-6)
    assert inputs[20].tolist() == [3.0] * 4


def batch(count: int, width: int = 2, **others: Any) -> Batch:
    return Batch(data={"x": torch.full((count, width), float(count)), **others}, num_samples=count)


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([batch(3), batch(3), batch(3), batch(2)], [6, 5]),
        # Sequences of other lengths, the last of which are alike again.
        ([batch(3), batch(3, 4), batch(3, 4), batch(3)], [3, 6, 3]),
        # No more samples than are wanted together.
        ([batch(6), batch(6), batch(2)], [6, 8]),
        # What is no tensor has to be the same.
        ([batch(3, kind="a"), batch(3, kind="a"), batch(3, kind="b")], [6, 3]),
        # Of these nobody knows how they are put together.
        ([batch(3, table=torch.ones(5)), batch(3, table=torch.ones(5))], [3, 3]),
        ([batch(3, names=np.array(["a"])), batch(3, names=np.array(["a"]))], [3, 3]),
    ],
)
def test_only_batches_of_one_form_are_put_together(batches: Sequence[Batch], expected: list[int]) -> None:
    found = list(joined(batches, 2, 8))
    assert [each.num_samples for each in found] == expected
    together = torch.cat([row for each in found for row in each.data["x"]])
    assert torch.equal(together, torch.cat([row for each in batches for row in each.data["x"]]))
