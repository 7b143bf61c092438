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
def captures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How each capture was made."""
    found: list[str] = []
    recorded, exported = capture._recorded, capture._exported

    def noted_recorded(*args: Any) -> Any:
        found.append("recorded")
        return recorded(*args)

    def noted_exported(*args: Any, dynamic: bool) -> Any:
        found.append("open" if dynamic else "closed")
        return exported(*args, dynamic=dynamic)

    monkeypatch.setattr(capture, "_recorded", noted_recorded)
    monkeypatch.setattr(capture, "_exported", noted_exported)
    return found


class WrittenByParts(nn.Module):
    """Writes to what it made by parts, which is exported and not recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.layer(x)
        scores[:, 0] += 1
        return scores


class Branching(nn.Module):
    """Another function for many samples than for few, which no trace of an open size can be."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * (2 if len(x) > 4 else 1)


class Large(nn.Module):
    """Has no memory for many samples in its first pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.is_short = nn.Linear(5, 3), True

    def forward(self, x: Tensor) -> Tensor:
        if self.is_short:
            self.is_short = False
            raise torch.OutOfMemoryError
        return self.layer(x)


def trace_each(tracer: Tracer, model: nn.Module, sizes: list[int]) -> list[Any]:
    data = (torch.randn(9, 5), torch.randint(0, 3, (9,)))
    wrapper = ModelWrapper(model.eval(), nn.CrossEntropyLoss(), data)
    objective = Objective(wrapper)
    with wrapper.evaluating():
        return [
            tracer.trace(objective, wrapper.state(), Batch(data=tuple(part[:size] for part in data), num_samples=size))
            for size in sizes
        ]


def test_some_sizes_have_recordings_of_their_own_and_all_others_share_one_trace(captures: list[str]) -> None:
    found = trace_each(Tracer(closed_sizes=4), nn.Linear(5, 3), [4, 3, 4, 5, 6, 7, 3, 8, 9])
    assert captures == ["recorded"] * 4 + ["open"]
    assert found[0] is found[2]
    assert found[1] is found[6]
    assert found[5] is found[7] is found[8]
    assert len({id(trace) for trace in found}) == 5


def test_where_nothing_is_recorded_two_sizes_have_traces_of_their_own(captures: list[str]) -> None:
    found = trace_each(Tracer(), WrittenByParts(), [4, 3, 4, 5, 6, 7, 3])
    assert captures == ["recorded", "closed", "closed", "open"]
    assert found[0] is found[2]
    assert found[1] is found[6]
    assert found[3] is found[4] is found[5]
    assert len({id(trace) for trace in found}) == 3


def test_where_the_size_cannot_be_left_open_each_has_its_own(captures: list[str]) -> None:
    found = trace_each(Tracer(closed_sizes=2), Branching(), [4, 3, 5, 6, 5])
    assert captures == ["recorded", "recorded", "open", "closed", "recorded"]
    assert len({id(trace) for trace in found}) == 4
    scaled = [any("mul" in str(node.target) and node.args[1] == 2 for node in trace.nodes) for trace in found]
    assert scaled == [False, False, True, True, True]


def test_a_shortage_of_memory_does_not_mean_that_smaller_batches_cannot_be_recorded(captures: list[str]) -> None:
    trace_each(Tracer(), Large(), [9, 4])
    assert captures == ["recorded", "closed", "recorded"]
