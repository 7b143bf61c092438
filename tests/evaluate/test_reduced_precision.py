"""float16 and bfloat16: weights combined and losses taken in float32, and held against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, LinearInterpolationSlicer, ModelWrapper, RandomDirectionSlicer

# Of a loss, by the digits of the precision: half a unit in the last place, through a few layers.
TOLERANCE = {torch.float16: 5e-3, torch.bfloat16: 4e-2}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("strategy", ["loop", "vmap", "partial"])
@pytest.mark.parametrize("name", ["mlp", "convolution", "attention"])
def test_a_reduced_precision_is_close_to_float64(
    name: str, strategy: Any, dtype: torch.dtype, network: Any, reference: Any, plain_direction: Any
) -> None:
    net = network(name)
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    settings = EvaluationSettings(strategy=strategy, dtype=dtype, batch_size=9)
    found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_2d(grid_size=(3, 2), seed=4)
    state = {key: parameter.detach() for key, parameter in net.model.named_parameters()}
    directions = [plain_direction(state, seed=4, axis=axis) for axis in (0, 1)]
    points = [(a, b) for a in np.linspace(-1, 1, 3) for b in np.linspace(-1, 1, 2)]
    expected = reference(net.model, nn.CrossEntropyLoss(), net.data).along(directions, points).reshape(3, 2)
    np.testing.assert_allclose(found.loss, expected, rtol=TOLERANCE[dtype])
    assert found.evaluation["strategy"] == strategy
    told = found.evaluation["precision"]["train"]
    assert told["compared_points"] == 6
    # What is stated is the difference itself, and it is not nothing.
    scale = np.maximum(np.abs(expected), told["center_loss_float32"])
    largest = np.max(np.abs(found.loss - expected) / scale)
    assert told["largest_relative_difference"] == pytest.approx(largest, rel=0.05, abs=1e-5)
    assert told["largest_relative_difference"] > 0


def test_small_steps_of_weights_are_not_lost_to_rounding(network: Callable[[str], Any]) -> None:
    """In bfloat16 1 + 0.001 is 1: steps that small add up only if weights are combined in more digits."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    wrapper = ModelWrapper(model, nn.MSELoss(), (torch.ones(4, 1), torch.zeros(4, 1)))
    settings = EvaluationSettings(strategy="loop", dtype=torch.bfloat16)
    found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(
        n_samples=65, range=(0.0, 0.25), normalize="filter"
    )
    # Each point is the nearest bfloat16 of its own weight, so no value is off by more than that.
    sign = 1.0 if found.loss[-1] > found.loss[0] else -1.0
    weights = 1 + sign * np.linspace(0, 0.25, 65)
    np.testing.assert_allclose(np.sqrt(found.loss), weights, rtol=2**-8)


class Steep(nn.Module):
    """Leaves the range of float16 where its weight grows, not that of float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return (self.layer(x) * 100.0) ** 2 / 1e4


@pytest.mark.parametrize("strategy", ["loop", "partial"])
def test_points_that_overflow_are_evaluated_again_in_float32(strategy: Any) -> None:
    wrapper = ModelWrapper(Steep(), nn.MSELoss(), (torch.randn(6, 4), torch.randn(6, 4)))
    found, exact = (
        RandomDirectionSlicer(
            wrapper, settings=EvaluationSettings(strategy=strategy, dtype=dtype), progress=False
        ).slice_1d(n_samples=9, range=(0.0, 3.0))
        for dtype in (torch.float16, None)
    )
    again = found.evaluation["precision"]["train"]["points_again_in_float32"]
    assert 0 < again < 9
    assert np.isfinite(found.loss).all()
    assert (found.loss == exact.loss).sum() == again


@pytest.mark.parametrize("strategy", ["loop", "partial", "streaming"])
def test_a_center_that_overflows_is_evaluated_again_with_all_points(strategy: Any) -> None:
    """Its loss, those of the ends, and the errors of differences to it are float32's."""
    model = Steep()
    wrapper = ModelWrapper(model, nn.MSELoss(), (torch.randn(6, 4), torch.randn(6, 4)))
    nn.init.constant_(model.layer.weight, 3.0)
    end = {name: torch.zeros_like(tensor) for name, tensor in wrapper.get_parameters().items()}
    found, exact = (
        LinearInterpolationSlicer(
            wrapper, settings=EvaluationSettings(strategy=strategy, dtype=dtype), progress=False
        ).slice(wrapper.get_parameters(), end, n_samples=5, range=(0.0, 1.0))
        for dtype in (torch.float16, None)
    )
    assert found.center is not None
    assert exact.center is not None
    assert found.center.loss == exact.center.loss
    np.testing.assert_array_equal(found.loss, exact.loss)
    np.testing.assert_array_equal(found.array(role="difference_stderr"), exact.array(role="difference_stderr"))
    assert found.evaluation["precision"]["train"]["points_again_in_float32"] == 5
    ends = [[marker.loss["train"] for marker in each.markers] for each in (found, exact)]
    assert ends[0] == pytest.approx(ends[1], rel=TOLERANCE[torch.float16])


class Logarithm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.log()


def test_a_center_without_a_value_in_float32_either_leaves_the_other_points_as_they_are() -> None:
    wrapper = ModelWrapper(Logarithm(), nn.MSELoss(), (torch.rand(6, 4) + 1, torch.randn(6, 4)))
    settings = EvaluationSettings(strategy="loop", dtype=torch.bfloat16)
    found = LinearInterpolationSlicer(wrapper, settings=settings, progress=False).slice(
        wrapper.get_parameters(), {"scale": torch.tensor(2.0)}, n_samples=3, range=(0.0, 1.0)
    )
    assert found.center is not None
    assert found.center.loss["train"] == torch.inf
    assert found.evaluation["precision"]["train"]["points_again_in_float32"] == 1


@pytest.mark.parametrize("strategy", ["loop", "streaming"])
def test_streaming_is_held_against_float32_like_the_others(strategy: Any, network: Any) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    settings = EvaluationSettings(strategy=strategy, dtype=torch.bfloat16)
    told = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=9).evaluation
    assert told["strategy"] == strategy
    assert told["precision"]["train"]["compared_points"] == 8
    assert 0 < told["precision"]["train"]["largest_relative_difference"] < TOLERANCE[torch.bfloat16]


def test_streaming_says_where_float32_does_not_fit(network: Any) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model.bfloat16(), nn.CrossEntropyLoss(), net.data)
    settings = EvaluationSettings(strategy="streaming", dtype=torch.bfloat16, memory_budget=64)
    told = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=3).evaluation
    assert "precision" not in told
    assert told["reason"].startswith("float32 was not compared")


WEIGHTS = torch.tensor([1.0, 2.0, 0.5])


def weighted_by_hand(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output, target, weight=WEIGHTS, reduction="none")


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("strategy", ["loop", "partial"])
@pytest.mark.parametrize("loss_fn", [nn.CrossEntropyLoss(weight=WEIGHTS), weighted_by_hand], ids=["module", "function"])
def test_a_loss_that_holds_float32_gets_float32(loss_fn: Any, strategy: Any, dtype: torch.dtype, network: Any) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, loss_fn, net.data)
    found, exact = (
        RandomDirectionSlicer(
            wrapper, settings=EvaluationSettings(strategy=strategy, dtype=chosen), progress=False
        ).slice_1d(n_samples=3)
        for chosen in (dtype, None)
    )
    np.testing.assert_allclose(found.loss, exact.loss, rtol=TOLERANCE[dtype])


class HalfScale(nn.Module):
    """Holds its weights in half precision and computes in float32, so that only what they are rounded to counts."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-2, 3, 12).reshape(4, 3).to(dtype))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.tanh(inputs @ self.weight.float())


@pytest.mark.parametrize(
    ("dtype", "strategy"),
    [(torch.bfloat16, "partial"), (torch.bfloat16, "vmap"), (torch.float16, "partial-vmap")],
)
def test_points_of_a_model_in_half_precision_are_rounded_as_the_loops_are(dtype, strategy) -> None:
    wrapper = ModelWrapper(HalfScale(dtype), nn.MSELoss(), (torch.randn(30, 4), torch.randn(30, 3)))
    found, expected = (
        RandomDirectionSlicer(wrapper, settings=EvaluationSettings(strategy=name), progress=False).slice_2d(
            grid_size=7, ignore="none"
        )
        for name in (strategy, "loop")
    )
    assert found.evaluation["strategy"] == strategy
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-6)
