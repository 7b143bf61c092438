"""What a sample adds to the largest intermediate result."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate.activations import bytes_a_sample
from slicer_core.evaluate.objective import Objective


class FixedBatch(nn.Module):
    """Made for batches of 8 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.view(8, 5)).view(8, 3)


def normed() -> nn.Module:
    """Its largest result is the weight, which no sample adds to."""
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(500, 3)))


@pytest.mark.parametrize(
    ("make", "features", "samples", "expected"),
    [
        (lambda: nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 3)), 5, 8, 160),
        (lambda: nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 3)), 5, 3, 160),
        (normed, 500, 8, 12),
        (FixedBatch, 5, 8, 0),
    ],
)
def test_it_is_what_grows_with_the_batch(
    make: Callable[[], nn.Module], features: int, samples: int, expected: int
) -> None:
    data = (torch.randn(samples, features), torch.randint(0, 3, (samples,)))
    wrapper = ModelWrapper(make().eval(), nn.CrossEntropyLoss(), data)
    objective = Objective(wrapper)
    (batch,) = wrapper.split("train", samples).batches()
    with wrapper.evaluating():
        assert bytes_a_sample(objective, wrapper.state(), batch) == expected


def test_a_model_for_one_size_of_batches_is_evaluated_on_whole_ones() -> None:
    data = (torch.randn(16, 5), torch.randint(0, 3, (16,)))
    wrapper = ModelWrapper(FixedBatch(), nn.CrossEntropyLoss(), data)
    losses = {
        name: RandomDirectionSlicer(
            wrapper, settings=EvaluationSettings(batch_size=8, strategy=name), progress=False
        ).slice_1d(n_samples=5)
        for name in ("partial", "loop")
    }
    assert losses["partial"].evaluation["strategy"] == "partial"
    torch.testing.assert_close(losses["partial"].loss, losses["loop"].loss, rtol=1e-5, atol=1e-6)


class Branching(nn.Module):
    """`torch.cond` is compiled at its first call, and again for another number of dimensions or of samples."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.switch = nn.Linear(5, 3), nn.Linear(5, 3), nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(self.switch > 0, lambda x: self.first(x), lambda x: torch.tanh(self.second(x)), (x,))


def test_what_is_compiled_in_a_model_still_is_afterwards() -> None:
    data = (torch.randn(9, 5), torch.randint(0, 3, (9,)))
    wrapper = ModelWrapper(Branching().eval(), nn.CrossEntropyLoss(), data)
    (batch,) = wrapper.split("train", 9).batches()
    with wrapper.evaluating():
        before = wrapper.model(data[0])
        bytes_a_sample(Objective(wrapper), wrapper.state(), batch)
        torch.testing.assert_close(wrapper.model(data[0]), before)
        assert wrapper.model(data[0][:2]).shape == (2, 3)
