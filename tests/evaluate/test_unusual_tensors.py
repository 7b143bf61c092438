"""Targets and buffers of kinds that most models don't have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import UserCodeError


def curve(wrapper: ModelWrapper, strategy: Any) -> Any:
    settings = EvaluationSettings(strategy=strategy)
    return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=3)


@pytest.mark.parametrize("strategy", ["loop", "partial", "auto"])
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5])])
def test_targets_of_8_bits_are_classes(weights: Tensor | None, strategy: Any, capfd: Any) -> None:
    model, loss_fn = nn.Linear(4, 3), nn.CrossEntropyLoss(weight=weights)
    inputs, target = torch.randn(12, 4), torch.randint(3, (12,))
    found = curve(ModelWrapper(model, loss_fn, (inputs, target.to(torch.uint8))), strategy)
    expected = curve(ModelWrapper(model, loss_fn, (inputs, target)), "loop")
    np.testing.assert_allclose(found.loss, expected.loss, rtol=3e-7)
    # That torch can't capture it is told as a reason, and not by torch.
    assert capfd.readouterr().err == ""


class Graph(nn.Module):
    def __init__(self, adjacency: Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("adjacency", adjacency)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer((self.adjacency @ x.t()).t())


@pytest.mark.parametrize("strategy", ["loop", "partial", "auto"])
def test_a_buffer_may_be_sparse(strategy: Any) -> None:
    adjacency = torch.eye(4) + torch.diag(torch.ones(3), 1)
    data = (torch.randn(12, 4), torch.randint(3, (12,)))
    dense, sparse = Graph(adjacency), Graph(adjacency.to_sparse())
    sparse.layer = dense.layer
    found = curve(ModelWrapper(sparse, nn.CrossEntropyLoss(), data), strategy)
    expected = curve(ModelWrapper(dense, nn.CrossEntropyLoss(), data), "loop")
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-6)


def test_a_loss_that_needs_gradients_is_told_how_to_have_them() -> None:
    def residual(model: nn.Module, batch: Any) -> Tensor:
        inputs = batch[0].requires_grad_()
        (slope,) = torch.autograd.grad(model(inputs).sum(), inputs)
        return slope.square().sum(dim=1)

    wrapper = ModelWrapper(nn.Linear(4, 1), train_data=[(torch.randn(5, 4),)], batch_loss=residual)
    with pytest.raises(UserCodeError, match=r"gradients are off .* torch.enable_grad"):
        curve(wrapper, "loop")


def test_operations_that_are_run_point_by_point_say_nothing(network: Any, capfd: Any) -> None:
    net = network("attention")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    for strategy in ("vmap", "partial-vmap"):
        curve(wrapper, strategy)
    assert capfd.readouterr().err == ""
