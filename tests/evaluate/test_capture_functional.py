"""In-place operations in a model: a captured graph has none, and gives what the model's own code gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional as F

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate.trace import NotTraceableError


def written_through_itself(h: Tensor) -> Tensor:
    h.relu_()
    h.add_(1)
    return h * 2


def viewed_after_it_was_written(h: Tensor) -> Tensor:
    h.view(-1).sum()
    h.tanh_()
    return h.view(-1).view(h.shape)


def behind_a_dropout_that_is_off(h: Tensor) -> Tensor:
    return F.dropout(h, 0.5, training=False).relu_()


def seen_through_a_dropout_that_is_off(h: Tensor) -> Tensor:
    F.dropout(h, 0.5, training=False).relu_()
    return h


def with_a_constant(h: Tensor) -> Tensor:
    return h + torch.tensor([1.0, 2.0, 3.0, 4.0])


def without_gradients(h: Tensor) -> Tensor:
    with torch.no_grad():
        return h.relu_()


def read_through_an_older_view(h: Tensor) -> Tensor:
    older = h.view(-1)
    h.relu_()
    return older.view(h.shape)


def written_through_a_view(h: Tensor) -> Tensor:
    h[:, 1:].relu_()
    return h


def a_column_set(h: Tensor) -> Tensor:
    h[:, 0] = 1
    return h


def after_a_norm(h: Tensor) -> Tensor:
    h = F.batch_norm(h, torch.zeros(4), torch.ones(4))
    return h.relu_()


def sums_over_neighbors(h: Tensor) -> Tensor:
    sums = torch.zeros_like(h)
    sums.index_add_(1, torch.tensor([1, 1, 0, 3]), h)
    return sums.scatter_add_(1, torch.tensor([[2, 0]]).expand(len(h), -1), h[:, :2]) + h


def means_over_neighbors(h: Tensor) -> Tensor:
    return h.new_zeros(h.shape).scatter_reduce_(1, torch.tensor([[2, 0, 2, 2]]).expand_as(h), h, "mean") + h


def places_filled(h: Tensor) -> Tensor:
    filled = h.new_empty(h.shape).fill_(0.5)
    filled[:, torch.tensor([0, 2])] = h[:, 1:3]
    return filled.index_fill_(1, torch.tensor([3]), 2.0) * h


def counted_in_place(h: Tensor) -> Tensor:
    buckets = torch.zeros(4, dtype=torch.long)
    buckets += (torch.arange(4) > 1).long() * 2
    few = torch.arange(4) < 3
    return h * buckets + few.bitwise_and_(buckets > 0)


def powers_in_place(h: Tensor) -> Tensor:
    return h.exp().pow_(2).pow_(torch.tensor([1.0, 0.5, 2.0, 1.5]))


def shares_of_the_largest(h: Tensor) -> Tensor:
    largest, places = h.exp().topk(2)
    largest /= largest.sum(dim=1, keepdim=True)
    return torch.zeros_like(h).scatter_(1, places, largest)


def halves_of_a_split(h: Tensor) -> Tensor:
    left, right = h.split(2, dim=1)
    left.add_(1)
    return h * 2 + torch.cat([right, left], dim=1)


def negated_in_place(h: Tensor) -> Tensor:
    return (h > 0).to(h.dtype).logical_not_() * h


def summed_up_behind_an_older_view(h: Tensor) -> Tensor:
    sums = torch.zeros_like(h)
    older = sums.view(-1)
    sums.index_add_(1, torch.tensor([1, 1, 0, 3]), h)
    return older.view(h.shape) + h


def of_a_wider_dtype(h: Tensor) -> Tensor:
    return h.mul_(torch.arange(4, dtype=torch.float64) / 3)


def compared_in_place(h: Tensor) -> Tensor:
    return h.gt_(0) * 0.5


SEEN = [
    written_through_itself,
    viewed_after_it_was_written,
    behind_a_dropout_that_is_off,
    with_a_constant,
    without_gradients,
    after_a_norm,
    sums_over_neighbors,
    means_over_neighbors,
    places_filled,
    counted_in_place,
    powers_in_place,
    shares_of_the_largest,
]
TRACED_AGAIN = [
    halves_of_a_split,
    negated_in_place,
    summed_up_behind_an_older_view,
    read_through_an_older_view,
    written_through_a_view,
    a_column_set,
    of_a_wider_dtype,
    compared_in_place,
]


class Between(nn.Module):
    """Two linear layers with a function between them."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.function = nn.Linear(5, 4), nn.Linear(4, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


@pytest.fixture
def decompositions(monkeypatch: pytest.MonkeyPatch) -> list[ExportedProgram]:
    """The programs that torch traced again."""
    found: list[ExportedProgram] = []
    original = ExportedProgram.run_decompositions

    def noted(program: ExportedProgram, *args: Any) -> ExportedProgram:
        found.append(program)
        return original(program, *args)

    monkeypatch.setattr(ExportedProgram, "run_decompositions", noted)
    return found


@pytest.mark.parametrize("function", SEEN + TRACED_AGAIN)
def test_what_a_model_writes_in_place_is_computed_as_its_own_code_does(
    function: Callable[[Tensor], Tensor], captured: Callable[..., Any], decompositions: list[ExportedProgram]
) -> None:
    made = captured(Between(function), torch.randn(6, 5), torch.randint(0, 3, (6,)))
    partial = made.assert_same()
    assert partial.parts.general
    # A graph that is seen to be safe is not traced again.
    assert bool(decompositions) == (function in TRACED_AGAIN)


@pytest.mark.parametrize("then", [lambda h: h, written_through_itself, read_through_an_older_view])
def test_what_is_written_through_a_dropout_that_is_off_is_written(then: Callable[[Tensor], Tensor]) -> None:
    """torch's own tracing takes such a dropout's result for a new tensor."""
    data = (torch.randn(6, 5), torch.randint(0, 3, (6,)))
    model = Between(lambda h: then(seen_through_a_dropout_that_is_off(h)))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), data)
    found, expected = (
        RandomDirectionSlicer(wrapper, settings=EvaluationSettings(strategy=strategy), progress=False).slice_1d(
            n_samples=3
        )
        for strategy in ("partial", "loop")
    )
    assert found.evaluation["strategy"] == "partial", found.evaluation["reason"]
    np.testing.assert_allclose(found.loss, expected.loss, rtol=3e-7)


def test_a_model_that_writes_to_its_input_has_no_graph(captured: Callable[..., Any]) -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3))
    with pytest.raises(NotTraceableError, match="changes its own tensors"):
        captured(model, torch.randn(6, 5), torch.randint(0, 3, (6,))).trace()


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.InstanceNorm1d])
def test_running_statistics_that_are_updated_have_no_graph(
    norm: Callable[..., nn.Module], captured: Callable[..., Any]
) -> None:
    class Trained(nn.Module):
        """Its norm takes the batch's statistics even in eval mode."""

        def __init__(self) -> None:
            super().__init__()
            self.norm, self.last = norm(4, track_running_stats=True), nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.norm.training = True
            return self.last(self.norm(x).flatten(1))

    with pytest.raises(NotTraceableError, match=r"its own tensors|running statistics"):
        captured(Trained(), torch.randn(6, 4, 3), torch.randint(0, 3, (6,))).trace()
