"""One wrapper evaluated again after its model's Python side has changed: what was captured is not taken for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate import trace


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
        self.beta = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.first(x)) * self.beta)


@pytest.fixture
def wrapper() -> ModelWrapper:
    metrics = {"sure": lambda output, target: (output.softmax(-1).amax(-1) > LIMITS["sure"]).float()}
    return ModelWrapper(Scaled(), nn.CrossEntropyLoss(), (torch.randn(12, 4), torch.randint(3, (12,))), metrics=metrics)


LIMITS = {"sure": 0.4}


@pytest.fixture
def _limits() -> Any:
    yield
    LIMITS["sure"] = 0.4


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets an entry for each capture."""
    found: list[int] = []
    capture = trace._recorded

    def counted(*args: Any) -> trace.Trace:
        found.append(1)
        return capture(*args)

    monkeypatch.setattr(trace, "_recorded", counted)
    return found


def curve(wrapper: ModelWrapper, strategy: Any) -> Any:
    settings = EvaluationSettings(strategy=strategy)
    return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=5)


def another_number(model: Scaled) -> None:
    # By less than what rounding may be.
    model.beta = 1.00001


def another_limit(model: Scaled) -> None:
    LIMITS["sure"] = 0.42


def a_hook(model: Scaled) -> None:
    model.first.register_forward_hook(lambda module, inputs, output: output + 3e-6)


def another_head(model: Scaled) -> None:
    model.head = nn.Linear(6, 5)


def no_bias(model: Scaled) -> None:
    model.head = nn.Linear(6, 3, bias=False)


@pytest.mark.usefixtures("_limits")
@pytest.mark.parametrize("change", [another_number, another_limit, a_hook, another_head, no_bias])
def test_the_next_slice_is_of_the_model_as_it_is(
    change: Callable[[Scaled], None], wrapper: ModelWrapper, captures: list[int]
) -> None:
    curve(wrapper, "partial")
    change(wrapper.model)
    expected, found = curve(wrapper, "loop"), curve(wrapper, "partial")
    assert found.evaluation["strategy"] == "partial", found.evaluation["reason"]
    np.testing.assert_allclose(found.loss, expected.loss, rtol=3e-7)
    np.testing.assert_array_equal(found.array("sure"), expected.array("sure"))
    assert len(captures) == 2


def test_what_no_value_tells_is_seen_by_its_numbers(wrapper: ModelWrapper, captures: list[int]) -> None:
    """The lambda's own values hide in an object, of which nothing is known."""

    class Hidden:
        __slots__ = ("value",)

        def __init__(self) -> None:
            self.value = 1.0

    hidden = Hidden()
    wrapper.model.first.register_forward_hook(lambda module, inputs, output: output * hidden.value)
    curve(wrapper, "partial")
    hidden.value = 1.001
    expected, found = curve(wrapper, "loop"), curve(wrapper, "partial")
    assert found.evaluation["strategy"] == "partial", found.evaluation["reason"]
    np.testing.assert_allclose(found.loss, expected.loss, rtol=3e-7)
    assert len(captures) == 2


def test_training_needs_no_capture_of_its_own(wrapper: ModelWrapper, captures: list[int]) -> None:
    ((inputs, target),) = [batch.data for batch in wrapper.split("train").batches()]
    optimizer = torch.optim.Adam(wrapper.model.parameters())
    for _ in range(3):
        curve(wrapper, "partial")
        optimizer.zero_grad()
        nn.functional.cross_entropy(wrapper.model(inputs), target).backward()
        optimizer.step()
    assert len(captures) == 1
