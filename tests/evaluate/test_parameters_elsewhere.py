"""Losses that read parameters past their model's names: a point is then written into the model's own tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import EvaluationSettings, HessianSlicer, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import DataError
from slicer_core.evaluate import choose_strategy
from slicer_core.plan import PointBlock


class Listed(nn.Module):
    """A plain list beside the registration."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.kernels = [self.first.weight, self.second.weight]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.tanh(F.linear(x, self.kernels[0], self.first.bias)), self.kernels[1], self.second.bias)


def listed() -> ModelWrapper:
    return ModelWrapper(Listed(), nn.CrossEntropyLoss(), data())


def penalized() -> ModelWrapper:
    """The parameters were listed once, as training scripts do."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    parameters = list(model.parameters())

    def batch_loss(network: nn.Module, batch: Any) -> Tensor:
        inputs, target = batch
        penalty = sum(parameter.square().sum() for parameter in parameters)
        return F.cross_entropy(network(inputs), target, reduction="none") + 0.1 * penalty

    return ModelWrapper(model, train_data=data(), batch_loss=batch_loss)


def data() -> tuple[Tensor, Tensor]:
    return torch.randn(11, 4), torch.randint(3, (11,))


def by_hand(wrapper: ModelWrapper, direction: dict[str, Tensor], points: np.ndarray) -> list[float]:
    """Each point written into the model, and the user's loss taken; the model holds the center again at the end."""
    center, losses = copy.deepcopy(wrapper.model.state_dict()), []
    ((inputs, target),) = [batch.data for batch in wrapper.split("train").batches()]
    for point in points:
        with torch.no_grad():
            for name, parameter in wrapper.model.named_parameters():
                parameter.copy_(center[name] + (point * direction[name] if name in direction else 0.0))
            if wrapper.batch_loss is None:
                loss = F.cross_entropy(wrapper.model(inputs), target)
            else:
                loss = wrapper.batch_loss(wrapper.model, (inputs, target)).mean()
        losses.append(loss.item())
    wrapper.model.load_state_dict(center)
    return losses


@pytest.mark.parametrize("strategy", ["auto", "loop", "partial", "vmap"])
@pytest.mark.parametrize("build", [listed, penalized])
def test_all_that_the_loss_reads_moves(build: Callable[[], ModelWrapper], strategy: Any, plain_direction: Any) -> None:
    wrapper = build()
    before = copy.deepcopy(wrapper.model.state_dict())
    slicer = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(strategy=strategy), progress=False)
    found = slicer.slice_1d(n_samples=3)
    state = {name: parameter.detach() for name, parameter in wrapper.model.named_parameters()}
    expected = by_hand(wrapper, plain_direction(state, seed=0, axis=0), found.axes[0].values)
    np.testing.assert_allclose(found.loss, expected, rtol=1e-5)
    assert found.evaluation["strategy"] == "streaming"
    assert "reads parameters past the model's own names" in found.evaluation["reason"]
    for name, tensor in wrapper.model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_trials_say_so_too() -> None:
    wrapper = listed()
    block = PointBlock(directions=lambda: ({"first.bias": torch.ones(6)},), coefficients=np.ones((2, 1)))
    chosen = choose_strategy(wrapper, wrapper.split("train"), [block], wrapper.state(), settings=EvaluationSettings())
    assert chosen.label == "streaming"


def test_it_can_not_be_differentiated_at_other_points() -> None:
    with pytest.raises(DataError, match=r"reads parameters past the model's own names .* let it read"):
        HessianSlicer(listed(), progress=False).slice_1d(n_samples=3)


def test_a_loss_that_reads_the_models_own_names_is_not_streamed(network: Callable[[str], Any]) -> None:
    net = network("mlp")

    def batch_loss(model: nn.Module, batch: Any) -> Tensor:
        penalty = sum(parameter.square().sum() for parameter in model.parameters())
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none") + 0.1 * penalty

    wrapper = ModelWrapper(net.model, train_data=net.data, batch_loss=batch_loss)
    found = RandomDirectionSlicer(wrapper, progress=False).slice_1d(n_samples=3)
    assert found.evaluation["strategy"] == "loop"
