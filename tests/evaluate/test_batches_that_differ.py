"""Batches on which a model runs other code than on the first, and shapes that differ from point to point."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import AxisParallelSlicer, EvaluationSettings, LossSum, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate import Decisions, PointEvaluator, decide_alike, evaluate, shares
from slicer_core.evaluate.decisions import moved_key
from slicer_core.evaluate.strategies import partial as partial_evaluation
from slicer_core.evaluate.trace import Tracer
from slicer_core.plan import PointBlock

SIZES = (9, 12, 13, 3, 1)


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(torch.tanh(self.first(x))))

    def between(self, hidden: Tensor) -> Tensor:
        return hidden


class CenteredIfSeveral(Layers):
    """One sample alone runs other code."""

    def between(self, hidden: Tensor) -> Tensor:
        return hidden - 0.1 * hidden.std(dim=1, keepdim=True) if hidden.shape[0] > 1 else hidden


class OtherwiseIfFew(Layers):
    """Few samples run code that depends on a value, and can't be captured."""

    def between(self, hidden: Tensor) -> Tensor:
        return hidden * 2 if len(hidden) < 4 and hidden.abs().max() > 1e-3 else hidden


class Squeezed(Layers):
    """The axis that one sample alone loses too."""

    def between(self, hidden: Tensor) -> Tensor:
        squeezed = hidden[:, None].squeeze()
        return squeezed.unsqueeze(0) if squeezed.dim() == 1 else squeezed


def entries(model: nn.Module, strategy: Any) -> Any:
    torch.manual_seed(3)
    batches = [(torch.randn(size, 4), torch.randint(3, (size,))) for size in SIZES]
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), batches)
    settings = EvaluationSettings(strategy=strategy)
    slicer = AxisParallelSlicer(wrapper, settings=settings, progress=False)
    return slicer.slice(bounds=(0.0, 0.5), n_samples=3, params_to_slice=[0, 9, 26, 40])


@pytest.mark.parametrize("strategy", ["partial", "partial-vmap"])
@pytest.mark.parametrize("kind", [CenteredIfSeveral, OtherwiseIfFew, Squeezed])
def test_every_block_is_the_loops_on_every_batch(kind: type[Layers], strategy: Any) -> None:
    model = kind()
    found = entries(model, strategy)
    np.testing.assert_allclose(found.loss, entries(model, "loop").loss, rtol=3e-7)
    assert strategy in found.evaluation["strategy"]


def test_where_one_block_fails_on_a_batch_all_are_held_against_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph with an open size, which torch takes to be 2 or more, is given the sample that is alone."""
    monkeypatch.setattr("slicer_core.evaluate.trace._ways", lambda batch: (False, True))
    monkeypatch.setattr(partial_evaluation, "Tracer", partial(Tracer, closed_sizes=2))
    model = CenteredIfSeveral()
    found = entries(model, "partial")
    np.testing.assert_allclose(found.loss, entries(model, "loop").loss, rtol=3e-7)
    assert "its loss of a batch at a point is" in found.evaluation["reason"]


class Gated(Layers):
    """How many channels there are depends on the point."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.channels = nn.Parameter(torch.linspace(-1, 1, 16)), nn.Parameter(torch.randn(16))

    def between(self, hidden: Tensor) -> Tensor:
        chosen = torch.sigmoid(self.channels.exp()[self.gate > 0])
        chosen = (chosen * chosen).view(1, -1).t()
        return hidden + (chosen * chosen.abs()).sum()


def curve(wrapper: ModelWrapper, strategy: Any) -> Any:
    settings = EvaluationSettings(strategy=strategy)
    slicer = RandomDirectionSlicer(wrapper, settings=settings, progress=False)
    return slicer.slice_1d(range=(-2.0, 2.0), n_samples=15, normalize="none", ignore="none")


def test_a_shape_that_moves_is_left_to_the_loop() -> None:
    wrapper = ModelWrapper(Gated(), nn.CrossEntropyLoss(), (torch.randn(12, 4), torch.randint(3, (12,))))
    found = curve(wrapper, "partial")
    np.testing.assert_allclose(found.loss, curve(wrapper, "loop").loss, rtol=3e-7)
    assert "has another shape at other points" in found.evaluation["reason"]


def test_a_shape_that_is_the_batchs_own_is_captured() -> None:
    def batch_loss(model: nn.Module, batch: Any) -> LossSum:
        inputs, target = batch
        chosen = target > 0
        losses = nn.functional.cross_entropy(model(inputs)[chosen], target[chosen], reduction="sum")
        return LossSum(losses, chosen.sum())

    data = [(torch.randn(12, 4), torch.randint(3, (12,)))]
    wrapper = ModelWrapper(Layers(), train_data=data, batch_loss=batch_loss)
    found = curve(wrapper, "partial")
    assert found.evaluation["strategy"] == "partial", found.evaluation["reason"]
    np.testing.assert_allclose(found.loss, curve(wrapper, "loop").loss, rtol=3e-7)


class Masked(Layers):
    """Attention over three places, which a mask that comes with the batch may leave out."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(6, 6)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x))
        scores = self.query(hidden) @ hidden.transpose(1, 2) + mask[:, None, :]
        return self.head(scores.softmax(dim=-1) @ hidden).mean(dim=1)


@pytest.mark.parametrize("strategy", ["partial", "partial-vmap"])
def test_a_mask_of_minus_infinity_in_one_batch_makes_no_point_nan(strategy: Any) -> None:
    torch.manual_seed(3)
    model = Masked()
    batches = [(torch.randn(5, 3, 4), torch.zeros(5, 3), torch.arange(5) % 3) for _ in range(4)]
    batches[2][1][:2, 2] = -torch.inf
    # The block that the masked batch is checked with does not move the scores.
    blocks = [
        line({name: torch.randn_like(dict(model.named_parameters())[name])})
        for name in ("query.weight", "query.bias", "head.weight")
    ]

    def loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return nn.functional.cross_entropy(model(*batch[:2]), batch[2], reduction="none")

    def found(strategy: Any) -> Any:
        wrapper = ModelWrapper(model, batch_loss=loss, train_data=batches)
        settings = EvaluationSettings(strategy=strategy, compile="off")
        return evaluate(wrapper, wrapper.split("train"), blocks, wrapper.state(), settings=settings)

    ours, loop = found(strategy), found("loop")
    assert (ours.strategy, ours.reason) == (strategy, None)
    np.testing.assert_allclose(ours.sums["loss"].total, loop.sums["loss"].total, rtol=1e-5)


class Weight:
    """Looks the same whatever it is, so that a batch runs what was captured of another."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Weight()"


def weighted() -> tuple[ModelWrapper, list[PointBlock]]:
    """One batch differs from the others, and points along two directions that move other tensors."""
    torch.manual_seed(3)
    batches = [(torch.randn(5, 4), Weight(value), torch.randint(3, (5,))) for value in (1.0, 1.0, 3.0, 1.0, 1.0, 1.0)]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]) * batch[1].value, batch[2], reduction="none")

    wrapper = ModelWrapper(Layers(), batch_loss=loss, train_data=batches)
    parameters = wrapper.get_parameters()
    return wrapper, [line({name: torch.randn_like(parameters[name])}) for name in ("first.weight", "head.weight")]


@pytest.mark.parametrize(("workers", "by_parts"), [(1, False), (2, False), (2, True)])
def test_points_that_are_asked_for_later_are_checked_on_the_batch_that_failed(
    workers: int, monkeypatch: pytest.MonkeyPatch, *, by_parts: bool
) -> None:
    monkeypatch.setattr(shares, "parts_pay", lambda *args: by_parts)
    wrapper, blocks = weighted()
    loop = evaluate(wrapper, wrapper.split("train"), blocks, wrapper.state(), settings=strategy_of("loop"))
    evaluator = PointEvaluator(
        wrapper, wrapper.split("train"), blocks, wrapper.state(), settings=strategy_of("partial", workers)
    )
    found = [evaluator.evaluate([block]).sums["loss"].total for block in (*blocks, blocks[0])]
    expected = loop.sums["loss"].total.reshape(2, -1)
    np.testing.assert_allclose(found, [*expected, expected[0]], rtol=1e-5)


def test_points_have_the_same_bits_whichever_were_asked_for_before(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for workers, by_parts in ((1, False), (2, False), (2, True)):
        monkeypatch.setattr(shares, "parts_pay", lambda *args, answer=by_parts: answer)
        for before in (0, 1):
            wrapper, blocks = weighted()
            settings = strategy_of("partial", workers)
            evaluator = PointEvaluator(wrapper, wrapper.split("train"), blocks[:1], wrapper.state(), settings=settings)
            decide_alike(wrapper, None, decisions())
            for _ in range(before):
                evaluator.evaluate(blocks[:1])
            found[workers, by_parts, before] = evaluator.evaluate(blocks[:1]).sums["loss"].to_bytes()
    assert len(set(found.values())) == 1


def decisions() -> Decisions:
    """What timing would decide."""
    known = Decisions()
    key = moved_key(["first.weight"])
    known.cuts[key], known.layouts[key] = (), "rows"
    return known


def strategy_of(name: Any, workers: int = 1) -> EvaluationSettings:
    return EvaluationSettings(strategy=name, workers=workers, compile="off")


def line(direction: dict[str, Tensor]) -> PointBlock:
    """Points along it."""
    return PointBlock(directions=lambda: (direction,), coefficients=np.linspace(-1, 1, 4)[:, None])
