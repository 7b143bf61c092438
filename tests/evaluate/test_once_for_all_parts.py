"""What is done once: for a batch and not for each of its parts, for a block and not again for its points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from slicer_core import EvaluationSettings, ModelWrapper
from slicer_core.evaluate import choice, cut, evaluate
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.partition import Partition
from slicer_core.evaluate.points import KnownBatches
from slicer_core.evaluate.strategies import PartialKernel
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS, Batch, SampleTerms

SAMPLES, PART = 40, 10
LAYERS = ("0.weight", "2.weight", "4.weight")


def wrapped(**options: Any) -> ModelWrapper:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    data = torch.randn(SAMPLES, 5), torch.randint(0, 3, (SAMPLES,))
    return ModelWrapper(model, nn.CrossEntropyLoss(), data, **options)


def line(state: NamedTensors, name: str) -> PointBlock:
    direction = {name: torch.randn_like(state[name])}
    return PointBlock(directions=lambda: (direction,), coefficients=np.array([[-0.5], [0.0], [0.8], [1.0]]))


def accuracy(prediction: Tensor, target: Tensor) -> Tensor:
    return prediction.argmax(1) == target


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "part_sizes", lambda *args, **kwargs: [PART])


@pytest.mark.usefixtures("in_parts")
def test_the_center_of_a_batch_that_was_looked_at_is_known_on_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = wrapped(metrics={"accuracy": accuracy})
    blocks, settings = [line(wrapper.state(), name) for name in LAYERS], EvaluationSettings(strategy="partial")
    asked = []
    center_terms = Objective.center_terms

    def counted(self: Objective, *args: Any, **kwargs: Any) -> Any:
        asked.append(1)
        return center_terms(self, *args, **kwargs)

    monkeypatch.setattr(Objective, "center_terms", counted)
    # The second batch was not looked at before.
    split = wrapper.split("train", 30)
    found = evaluate(wrapper, split, blocks, wrapper.state(), settings=settings)
    assert found.strategy == "partial"
    assert len(asked) == 1
    loop = evaluate(wrapper, split, blocks, wrapper.state(), settings=EvaluationSettings(strategy="loop"))
    for name, sums in found.sums.items():
        assert sums.center_total == pytest.approx(loop.sums[name].center_total, rel=1e-6)
        np.testing.assert_allclose(sums.values, loop.sums[name].values, rtol=1e-5)


def test_terms_that_are_no_samples_own_are_not_cut() -> None:
    by_sample = {LOSS: one_each(SAMPLES)}
    known = KnownBatches()
    known.add({(0, 0, SAMPLES): by_sample, (1, 0, SAMPLES): {LOSS: one_each(1)}})
    part = known.terms((0, 10, 5), lambda: pytest.fail("it is known"))[LOSS]
    assert torch.equal(part.sums, by_sample[LOSS].sums[10:15])
    for key in [(1, 0, 5), (0, SAMPLES - 2, 5), (2, 0, 5)]:
        own = {LOSS: one_each(5)}
        assert known.terms(key, lambda own=own: own) is own


def one_each(count: int) -> SampleTerms:
    return SampleTerms(sums=torch.randn(count), counts=torch.ones(count))


def test_what_a_pass_takes_is_known_of_the_batch_that_was_looked_at() -> None:
    wrapper = wrapped()
    objective, batch = Objective(wrapper), next(iter(wrapper.split("train", SAMPLES).batches()))
    with wrapper.evaluating():
        objective.examine(wrapper.state(), batch)
    assert objective.pass_seconds(batch) > 0
    assert objective.pass_seconds(Batch(data=batch.data, num_samples=SAMPLES)) is None


def test_a_mean_over_the_batch_is_checked_by_more_passes_than_are_timed() -> None:
    model, data = nn.Linear(5, 3), (torch.randn(SAMPLES, 5), torch.randint(0, 3, (SAMPLES,)))
    wrapper = ModelWrapper(
        model, batch_loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]), train_data=data
    )
    objective, batch = Objective(wrapper), next(iter(wrapper.split("train", SAMPLES).batches()))
    with wrapper.evaluating():
        objective.examine(wrapper.state(), batch)
    assert objective.pass_seconds(batch) is None


@pytest.mark.usefixtures("in_parts")
def test_the_block_that_is_held_against_the_loop_is_not_prepared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = wrapped()
    blocks, made = [line(wrapper.state(), name) for name in LAYERS], []
    init = PartialKernel.__init__

    def counted(self: PartialKernel, *args: Any, **kwargs: Any) -> None:
        made.append(1)
        init(self, *args, **kwargs)

    monkeypatch.setattr(PartialKernel, "__init__", counted)
    settings = EvaluationSettings(strategy="partial")
    found = evaluate(wrapper, wrapper.split("train", SAMPLES), blocks, wrapper.state(), settings=settings)
    assert len(made) == len(blocks) * SAMPLES // PART
    loop = evaluate(
        wrapper,
        wrapper.split("train", SAMPLES),
        blocks,
        wrapper.state(),
        settings=EvaluationSettings(strategy="loop"),
    )
    np.testing.assert_allclose(found.sums["loss"].values, loop.sums["loss"].values, rtol=1e-5)


@pytest.mark.parametrize("is_known", [True, False])
def test_what_took_long_when_it_was_computed_is_not_run_again_to_see_whether_it_is_dear(
    is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = fx.Graph()
    weight, inputs = graph.placeholder("weight"), graph.placeholder("inputs")
    product = graph.call_function(torch.ops.aten.mm.default, (inputs, weight))
    parts = Partition(
        varied=frozenset({weight}), affine=(weight, product), general=(), frontier=(product,), constants=(inputs,)
    )
    large, small = torch.zeros(200, 100), torch.zeros(4, 100)
    components = {weight: [small, small], product: [large, large]}
    ran = []
    monkeypatch.setattr(cut, "_run", lambda *args: ran.append(1))
    found = cut.dear_nodes(parts, components, {inputs: torch.zeros(200, 4)}, {product: 1.0} if is_known else {})
    assert bool(ran) is not is_known
    # What takes no time at all is rather run than combined.
    assert found == (set() if is_known else {product})
