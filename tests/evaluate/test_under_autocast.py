"""Slices that are taken within an `autocast` of the caller's: each point has weights of its own, cast anew."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core.evaluate import EvaluationSettings
from slicer_core.methods import find_method
from slicer_core.methods.method import SliceOptions
from slicer_core.methods.slicer import Slicer
from slicer_core.slices import Slice
from slicer_core.subject import ModelWrapper

X = torch.randn(24, 10, generator=torch.Generator().manual_seed(1))
Y = torch.arange(24) % 3


class Net(nn.Module):
    """Runs in bfloat16 wherever it is called, as a model that accelerate has prepared does."""

    def __init__(self, *, casts: bool) -> None:
        super().__init__()
        self.casts = casts
        self.first, self.last = nn.Linear(10, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16) if self.casts else contextlib.nullcontext():
            return self.last(torch.tanh(self.first(x))).float()


def net(*, casts: bool) -> Net:
    torch.manual_seed(0)
    return Net(casts=casts)


def take(model: nn.Module, method: str, strategy: Any) -> Slice:
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (X, Y))
    slicer = Slicer(wrapper, settings=EvaluationSettings(strategy=strategy), progress=False)
    options = SliceOptions.parse(grid="5", range="-1:1", num_axes=1)
    return slicer.take(method, find_method(method).create({}), None, options)


@pytest.mark.parametrize(
    "strategy, casts, enabled",
    [("loop", True, False), ("loop", True, True), ("loop", False, True), ("streaming", True, True)],
)
def test_each_point_is_evaluated_at_its_own_weights(strategy: str, casts: bool, enabled: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        found = take(net(casts=casts), "random1d", strategy)
    full = take(net(casts=False), "random1d", "loop")
    assert full.loss.max() - full.loss.min() > 0.05
    # What bfloat16 leaves of the same points in float32.
    assert found.loss.tolist() == pytest.approx(full.loss.tolist(), rel=2e-3)
    assert found.loss[2] == pytest.approx(found.center.loss["train"], rel=1e-6)


def test_curvature_is_that_of_the_weights_and_not_of_copies_without_a_graph() -> None:
    model = net(casts=True)
    plain = take(model, "hessian1d", "loop")
    with torch.autocast("cpu", enabled=False):
        # As a training does between two steps: copies that were cast without a graph.
        with torch.no_grad():
            F.cross_entropy(model(X), Y)
        found = take(model, "hessian1d", "loop")
    assert found.loss.tolist() == plain.loss.tolist()
    assert found.directions[0].eigenvalue == plain.directions[0].eigenvalue
