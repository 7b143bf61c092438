"""A loss over few classes, whose scores lie with the samples of each class side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from slicer_core import ModelWrapper
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.strategies import LoopKernel, PartialKernel, Session, Traces
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch

SAMPLES = 40
Aten = torch.ops.aten


class Pictures(nn.Module):
    """A convolution before the scores, so that those are no combination of what was made before."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(2, 6, 3), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(x)).mean((2, 3)))


class Softmaxes(TorchDispatchMode):
    """What each logarithm of a softmax was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is Aten._log_softmax:
            self.given.append(args[0])
        return func(*args, **(kwargs or {}))


def accuracy(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction.argmax(1) == target).float()


def line(varied: NamedTensors) -> PointBlock:
    directions = ({name: torch.randn_like(tensor) for name, tensor in varied.items()},)
    return PointBlock(directions=lambda: directions, coefficients=np.array([[0.1], [-0.7], [1.3]]))


@pytest.mark.parametrize("metrics", [{}, {"accuracy": accuracy}], ids=["loss alone", "a metric too"])
@pytest.mark.parametrize(
    "criterion",
    [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(ignore_index=0, weight=torch.arange(1.0, 6.0), reduction="sum")],
    ids=["plain", "weighted"],
)
def test_the_softmax_finds_the_scores_of_a_class_side_by_side(criterion: nn.Module, metrics: dict[str, Any]) -> None:
    inputs, target = torch.randn(SAMPLES, 2, 6, 6), torch.randint(0, 5, (SAMPLES,))
    wrapper = ModelWrapper(Pictures().eval(), criterion, (inputs, target), metrics=metrics)
    objective, state = Objective(wrapper), wrapper.state()
    block = line(state)
    batch = Batch(data=(inputs, target), num_samples=SAMPLES)
    partial, loop = PartialKernel(objective, state, block), LoopKernel(objective, state, block)
    with wrapper.evaluating():
        partial.terms(batch, slice(0, 1))
        with Softmaxes() as softmaxes:
            ours = partial.terms(batch, slice(0, 3))
        expected = loop.terms(batch, slice(0, 3))
    assert [tuple(given.shape) for given in softmaxes.given] == [(5, SAMPLES)] * 3
    # What a metric reads too lies as torch has it.
    assert all(given.is_contiguous() is not bool(metrics) for given in softmaxes.given)
    for name, (sums, _) in expected.items():
        torch.testing.assert_close(ours[name][0], sums, rtol=1e-5, atol=1e-6)


def test_scores_that_are_combined_are_combined_as_the_softmax_wants_them() -> None:
    inputs, target = torch.randn(SAMPLES, 4), torch.randint(0, 5, (SAMPLES,))
    model = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 5))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target))
    objective, state, batch = Objective(wrapper), wrapper.state(), Batch(data=(inputs, target), num_samples=SAMPLES)
    block = line({"2.weight": state["2.weight"]})
    partial = PartialKernel(objective, state, block)
    with wrapper.evaluating():
        partial.terms(batch, slice(0, 1))
        with Softmaxes() as softmaxes:
            ours = partial.terms(batch, slice(0, 3))
        expected = LoopKernel(objective, state, block).terms(batch, slice(0, 3))
    assert [(tuple(given.shape), given.is_contiguous()) for given in softmaxes.given] == [((5, SAMPLES), True)] * 3
    torch.testing.assert_close(ours["loss"][0], expected["loss"][0], rtol=1e-5, atol=1e-6)


def perceptron(hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 80), nn.ReLU(), nn.Linear(80, 5))


@pytest.mark.parametrize(
    ("model", "moved", "is_timed", "found"),
    [
        (perceptron(70), "4.", False, "rows"),
        (perceptron(70), "0.", False, "rows"),
        # A product of eight columns is computed from what is combined, and nothing reads it turned.
        (nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 5)), "0.", True, "columns"),
    ],
    ids=["the last layer", "wide products follow", "a narrow product follows"],
)
def test_a_layout_is_timed_only_where_it_may_matter(
    monkeypatch: pytest.MonkeyPatch, model: nn.Sequential, moved: str, is_timed: bool, found: str
) -> None:
    timed: list[str] = []

    def seconds(_: PartialKernel, frontier: Any, layout: str) -> float:
        timed.append(layout)
        return 2.0 if layout == "rows" else 1.0

    monkeypatch.setattr(PartialKernel, "_seconds", seconds)
    inputs, target = torch.randn(SAMPLES, 4), torch.randint(0, 5, (SAMPLES,))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target))
    objective, state, traces = Objective(wrapper), wrapper.state(), Traces()
    block = line({name: tensor for name, tensor in state.items() if name.startswith(moved)})
    batch = Batch(data=(inputs, target), num_samples=SAMPLES)
    partial = PartialKernel(objective, state, block, session=Session(traces))
    with wrapper.evaluating():
        ours = partial.terms(batch, slice(0, 3))
        expected = LoopKernel(objective, state, block).terms(batch, slice(0, 3))
    assert bool(timed) == is_timed
    assert set(traces.layouts.values()) == {found}
    torch.testing.assert_close(ours["loss"][0], expected["loss"][0], rtol=1e-5, atol=1e-6)
