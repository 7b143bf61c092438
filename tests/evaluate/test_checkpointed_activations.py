"""Models that keep no activations: their forward runs again in a backward pass, and has to find the point there."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from slicer_core import EvaluationSettings, GradientSlicer, HessianSlicer, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import UserCodeError
from slicer_core.evaluate.gradient import DifferentiableLoss

FLOAT64 = EvaluationSettings(dtype=torch.float64, batch_size=4)


class Frugal(nn.Module):
    def __init__(self, use_reentrant: bool | None) -> None:
        super().__init__()
        self.first, self.inner, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.use_reentrant = use_reentrant

    def forward(self, features: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(features))
        if self.use_reentrant is None:
            return self.head(self._inner(hidden))
        return self.head(checkpoint(self._inner, hidden, use_reentrant=self.use_reentrant))

    def _inner(self, hidden: Tensor) -> Tensor:
        return torch.tanh(self.inner(hidden))


@pytest.fixture
def wrappers() -> tuple[ModelWrapper, ModelWrapper]:
    """The same network with and without checkpoints."""
    frugal, data = Frugal(use_reentrant=False), (torch.randn(10, 3), torch.randint(0, 2, (10,)))
    plain = copy.deepcopy(frugal)
    plain.use_reentrant = None
    return ModelWrapper(frugal, nn.CrossEntropyLoss(), data), ModelWrapper(plain, nn.CrossEntropyLoss(), data)


def test_derivatives_away_from_the_models_own_weights(wrappers) -> None:
    point = {name: torch.randn_like(tensor) for name, tensor in wrappers[0].get_parameters().items()}
    model = copy.deepcopy(wrappers[1].model).double()
    model.load_state_dict(point)
    inputs, classes = wrappers[1].split("train").batches()[0].data
    F.cross_entropy(model(inputs.double()), classes).backward()
    square = sum(p.grad.square().sum().item() for p in model.parameters() if p.grad is not None)
    found = [
        GradientSlicer(wrapper, settings=FLOAT64, progress=False).slice(point, n_samples=3).directions[0].norm
        for wrapper in wrappers
    ]
    np.testing.assert_allclose(found, square**0.5, rtol=1e-6)
    pytest.importorskip("curvlinops")
    eigenvalues = [
        HessianSlicer(wrapper, settings=FLOAT64, progress=False).slice_1d(point, n_samples=3).directions[0].eigenvalue
        for wrapper in wrappers
    ]
    assert eigenvalues[0] == pytest.approx(eigenvalues[1], rel=1e-6)


def test_the_gradients_of_all_points_and_of_a_training_on_the_way(wrappers) -> None:
    arrays, gradients = [], []
    for wrapper in wrappers:
        slicer = RandomDirectionSlicer(wrapper, settings=FLOAT64, measures=("gradient_norm",), progress=False)
        arrays += [array.values for array in slicer.slice_1d(n_samples=3).arrays if array.name == "gradient_norm"]
        data, state = wrapper.split("train"), wrapper.state()
        loss = DifferentiableLoss(wrapper, data, state, ["inner.weight"], settings=FLOAT64)
        loss.move_to({name: 2 * tensor for name, tensor in state.items()})
        gradients.append(loss.batch_gradient(next(iter(data.batches())))[1]["inner.weight"])
    np.testing.assert_allclose(arrays[0], arrays[1], rtol=1e-9)
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_checkpoints_that_take_no_gradients_are_told_as_the_models_own(wrappers) -> None:
    wrapper = wrappers[0]
    wrapper.model.use_reentrant = True
    for slicer in (
        GradientSlicer(wrapper, progress=False).slice,
        RandomDirectionSlicer(wrapper, measures=("sam_sharpness",), progress=False).slice_1d,
    ):
        with pytest.raises(UserCodeError, match=r"differentiating the loss raised .* use_reentrant=True"):
            slicer(n_samples=3)
