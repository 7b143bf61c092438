"""Small networks and quadratics whose second derivatives are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, LossSum, ModelWrapper
from slicer_core.curvature import CurvatureProblem


def dense_hessian(function: Callable[..., Tensor], model: nn.Module, names: list[str]) -> Tensor:
    """∂²/∂θ² of `function(parameters by name)` over the named parameters of the model, (P, P), by torch alone."""
    parameters = dict(model.named_parameters())
    sizes = [parameters[name].numel() for name in names]

    def of_flat(flat: Tensor) -> Tensor:
        parts = [part.reshape(parameters[name].shape) for part, name in zip(flat.split(sizes), names, strict=True)]
        return function(dict(zip(names, parts, strict=True)))

    flat = torch.cat([parameters[name].detach().reshape(-1) for name in names])
    found = torch.autograd.functional.hessian(of_flat, flat)
    assert isinstance(found, Tensor)
    return found


@pytest.fixture
def classifier() -> ModelWrapper:
    """tanh network in float64 with class weights and ignored targets, in uneven batches."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.BatchNorm1d(6), nn.Linear(6, 3)).double()
    inputs, target = torch.randn(31, 4).double(), torch.randint(0, 3, (31,))
    target[:5] = -100
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]).double())
    model(inputs)
    return ModelWrapper(model, loss, (inputs, target))


class Quadratic(nn.Module):
    """½·Σ hᵢθᵢ² for each of two samples: its Hessian is diagonal."""

    def __init__(self, curvatures: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.linspace(-1, 1, len(curvatures), dtype=curvatures.dtype))
        self.register_buffer("curvatures", curvatures)

    def forward(self, inputs: Tensor) -> Tensor:
        return (self.curvatures * self.theta**2).sum() / 2 * torch.ones_like(inputs[:, 0])


def quadratic(curvatures: Tensor) -> ModelWrapper:
    """The quadratic as a LossSum, so that its value is ½·Σ hᵢθᵢ²."""
    data = [torch.zeros(2, 1, dtype=curvatures.dtype), torch.zeros(3, 1, dtype=curvatures.dtype)]
    return ModelWrapper(
        Quadratic(curvatures),
        train_data=data,
        batch_loss=lambda model, batch: LossSum(model(batch), torch.ones(len(batch), dtype=curvatures.dtype)),
    )


def problem_of(wrapper: ModelWrapper, batch_size: int | None = None, **changes) -> CurvatureProblem:
    """The Hessian at the wrapper's own parameters."""
    given = {
        "wrapper": wrapper,
        "data": wrapper.split(wrapper.splits[0], batch_size),
        "state": wrapper.state(),
        "names": wrapper.varying_names(),
        "settings": EvaluationSettings(),
    }
    return CurvatureProblem(**{**given, **changes})


@pytest.fixture(scope="session")
def curvature_tools():
    """The helpers above, since test folders are no packages."""

    class Tools:
        dense_hessian = staticmethod(dense_hessian)
        quadratic = staticmethod(quadratic)
        problem_of = staticmethod(problem_of)

    return Tools
