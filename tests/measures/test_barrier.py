from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from slicer_core import EvaluationSettings, LinearInterpolationSlicer, ModelWrapper
from slicer_core.measures import measure

LINE = {"slice_type": "linear_interpolation"}


def test_a_bump_between_two_ends_is_the_barrier(curve) -> None:
    at = np.linspace(-0.5, 1.5, 21)
    found = measure(curve(at, lambda t: 1 + t + 4 * t * (1 - t), **LINE))["barrier"]
    assert found.value == pytest.approx(1.0)
    assert found.details["at"] == pytest.approx(0.5)


def test_what_lies_outside_of_the_ends_does_not_count(curve) -> None:
    found = measure(curve([-1, 0, 0.5, 1, 2], [90, 1, 2, 3, 90], **LINE))["barrier"]
    assert (found.value, found.error) == (0.0, None)


def test_a_constant_or_convex_line_has_no_barrier(curve) -> None:
    at = np.linspace(0, 1, 11)
    assert measure(curve(at, lambda t: 0 * t + 0.1, **LINE))["barrier"].value == pytest.approx(0.0, abs=1e-15)
    assert measure(curve(at, lambda t: (t - 0.4) ** 2, **LINE))["barrier"].value == 0.0


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([0, np.nan, 0], math.nan), ([0, np.inf, 0], math.inf), ([np.nan, 1, 0], math.nan), ([np.inf, 1, 0], math.nan)],
)
def test_points_that_are_not_finite_stay_so(curve, losses, expected) -> None:
    found = measure(curve([0, 0.5, 1], losses, **LINE))["barrier"]
    np.testing.assert_equal(found.value, expected)


def test_without_both_ends_on_the_grid_or_on_another_slice_there_is_none(curve, grid) -> None:
    assert "barrier" not in measure(curve([0.1, 0.5, 1], [0, 1, 0], **LINE))
    assert "barrier" not in measure(curve([0, 0.5, 0.9], [0, 1, 0], **LINE))
    assert "barrier" not in measure(curve([0], [0], **LINE))
    assert "barrier" not in measure(curve([0, 0.5, 1], [0, 1, 0]))
    assert "barrier" not in measure(grid([0, 1], [0, 1], np.zeros((2, 2))))


def test_the_order_of_the_coordinates_does_not_matter(curve) -> None:
    assert measure(curve([1, 0.5, 0], [3, 5, 1], **LINE))["barrier"].value == 3.0


def test_a_line_between_trained_ends_has_one_for_each_split_with_an_error() -> None:
    """Held against the losses of the samples themselves, one after another."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    inputs = torch.randn(2, 400, 3)
    labels = (inputs[..., 0] + 0.5 * torch.randn(2, 400) > 0).long()
    data = {name: (inputs[index], labels[index]) for index, name in enumerate(("train", "test"))}
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[0]), labels[0]).backward()
        optimizer.step()
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), data["train"], data["test"])
    slicer = LinearInterpolationSlicer(
        wrapper, split="both", settings=EvaluationSettings(dtype=torch.float64), progress=False
    )
    # The same function: tanh is odd, so hidden units may change their signs.
    end = {name: -tensor if name != "2.bias" else tensor for name, tensor in wrapper.get_parameters().items()}
    found = slicer.slice(end_point=end, n_samples=10, range=(0.0, 1.0))
    assert {"barrier", "barrier_test"} <= set(found.measures)

    def losses(t: float, split: str) -> np.ndarray:
        state = {
            name: (1 - t) * tensor.double() + t * end[name].double()
            for name, tensor in wrapper.get_parameters().items()
        }
        inputs, target = data[split]
        output = torch.func.functional_call(model.double(), state, inputs.double())
        return nn.functional.cross_entropy(output, target, reduction="none").detach().numpy()

    for split, name in (("train", "barrier"), ("test", "barrier_test")):
        rises = [
            losses(t, split) - ((1 - t) * losses(0.0, split) + t * losses(1.0, split)) for t in found.axes[0].values
        ]
        top = int(np.argmax([rise.mean() for rise in rises]))
        barrier = found.measures[name]
        assert barrier.value > 0.1
        assert barrier.value == pytest.approx(rises[top].mean(), rel=1e-6)
        assert barrier.details["at"] == found.axes[0].values[top]
        # The error of the samples' own rises: from groups of them with its own chance, from the stored slice a bound.
        exact = rises[top].std(ddof=1) / math.sqrt(400)
        bound = measure(found)[name]
        assert barrier.error is not None
        assert bound.error is not None
        assert barrier.error == pytest.approx(exact, rel=0.3)
        assert exact <= bound.error * (1 + 1e-5)
        assert (barrier.details["error"], bound.details["error"]) == ("random groups", "upper bound")
