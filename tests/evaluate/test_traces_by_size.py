"""How many captures batches of several sizes take."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slicer_core import ModelWrapper
from slicer_core.evaluate import trace as capture
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.trace import Tracer
from slicer_core.subject import Batch


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each capture left the size open."""
    found: list[bool] = []
    attempt = capture._attempt

    def noted(*args: Any, dynamic: bool) -> Any:
        found.append(dynamic)
        return attempt(*args, dynamic=dynamic)

    monkeypatch.setattr(capture, "_attempt", noted)
    return found


class Branching(nn.Module):
    """Another function for many samples than for few, which no trace of an open size can be."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * (2 if len(x) > 4 else 1)


def trace_each(tracer: Tracer, model: nn.Module, sizes: list[int]) -> list[Any]:
    data = (torch.randn(9, 5), torch.randint(0, 3, (9,)))
    wrapper = ModelWrapper(model.eval(), nn.CrossEntropyLoss(), data)
    objective = Objective(wrapper)
    with wrapper.evaluating():
        return [
            tracer.trace(objective, wrapper.state(), Batch(data=tuple(part[:size] for part in data), num_samples=size))
            for size in sizes
        ]


def test_two_sizes_have_traces_of_their_own_and_all_others_share_one(captures: list[bool]) -> None:
    tracer = Tracer()
    found = trace_each(tracer, nn.Linear(5, 3), [4, 3, 4, 5, 6, 7, 3])
    assert captures == [False, False, True]
    assert found[0] is found[2]
    assert found[1] is found[6]
    assert found[3] is found[4] is found[5]
    assert len({id(trace) for trace in found}) == 3


def test_where_the_size_cannot_be_left_open_each_has_its_own(captures: list[bool]) -> None:
    found = trace_each(Tracer(), Branching(), [4, 3, 5, 6, 5])
    assert captures == [False, False, True, False, False]
    assert len({id(trace) for trace in found}) == 4
    scaled = [any("mul" in str(node.target) and node.args[1] == 2 for node in trace.nodes) for trace in found]
    assert scaled == [False, False, True, True, True]
