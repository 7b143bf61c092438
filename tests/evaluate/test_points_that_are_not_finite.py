from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from slicer_core import AxisParallelSlicer, EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.directions import random_direction
from slicer_core.slices import Slice


def center_loss(found: Slice, split: str = "train") -> float:
    assert found.center is not None
    return found.center.loss[split]


class Exponential(nn.Module):
    """Overflows float32 where the weights grow."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.exp(self.layer(features))


def subject() -> tuple[Exponential, tuple[torch.Tensor, torch.Tensor]]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Exponential(), (torch.randn(10, 3), torch.randn(10, 2))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("strategy", ["loop", "vmap", "partial"])
@pytest.mark.parametrize(
    ("loss_fn", "classes"),
    [
        (nn.MSELoss(), False),
        (nn.CrossEntropyLoss(), True),
        (lambda output, target: (output - output * 2 + target).mean(dim=1), False),
    ],
    ids=["squares", "cross-entropy", "own"],
)
def test_nan_and_infinity_are_results_where_they_occur(loss_fn, classes, strategy) -> None:
    model, (inputs, target) = subject()
    target = target.argmax(dim=1) if classes else target
    settings = EvaluationSettings(batch_size=4, strategy=strategy)
    found = RandomDirectionSlicer(
        ModelWrapper(model, loss_fn, (inputs, target)), settings=settings, progress=False
    ).slice_1d(n_samples=9, range=(-200.0, 200.0), normalize="none")

    (direction,) = random_direction({"layer.weight": model.layer.weight}, seed=0, axis=0).values()
    expected = []
    for alpha in found.axes[0].values:
        moved = copy.deepcopy(model)
        with torch.no_grad():
            moved.layer.weight += float(alpha) * direction
            expected.append(loss_fn(moved(inputs), target).mean().item())
    np.testing.assert_array_equal(np.isfinite(found.loss), np.isfinite(expected))
    np.testing.assert_array_equal(np.isnan(found.loss), np.isnan(expected))
    finite = np.isfinite(expected)
    assert 0 < finite.sum() < 9
    np.testing.assert_allclose(found.loss[finite], np.array(expected)[finite], rtol=1e-4)
    assert not np.isfinite(found.array(role="stderr")[~finite]).any()


def test_a_weight_that_is_not_finite_gives_a_slice_of_such_values_along_single_parameters() -> None:
    model, data = subject()
    with torch.no_grad():
        model.layer.weight[0, 0] = float("nan")
    found = AxisParallelSlicer(ModelWrapper(model, nn.MSELoss(), data), progress=False).slice(
        n_samples=3, params_to_slice=[1]
    )
    assert np.isnan(found.loss).all()
    assert np.isnan(center_loss(found))
