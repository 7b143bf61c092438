"""Trained curves: their ends and formula, that they are low where the line is high, and what is told of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from slicer_core import BezierSlicer, CurveTraining, LinearInterpolationSlicer, ModelWrapper
from slicer_core.connectivity import CURVES
from slicer_core.errors import ConvergenceError, UsageError
from slicer_core.slices import Slice

FEW = CurveTraining(steps=3, batch_size=16)


def trained(seed: int, inputs: torch.Tensor, target: torch.Tensor, *, batchnorm: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Linear(2, 12), nn.BatchNorm1d(12), nn.Tanh()] if batchnorm else [nn.Linear(2, 12), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(12, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), target).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def rings() -> tuple[torch.Tensor, torch.Tensor]:
    """An inner disk and a ring around it, which no line divides."""
    torch.manual_seed(0)
    inputs = torch.randn(64, 2)
    return inputs, (inputs.norm(dim=1) > 1.1).long()


@pytest.fixture(scope="module")
def pair(rings) -> tuple[ModelWrapper, dict[str, torch.Tensor]]:
    """A trained network, and another one from other initial weights."""
    wrapper = ModelWrapper(trained(1, *rings), nn.CrossEntropyLoss(), rings)
    return wrapper, dict(trained(2, *rings).state_dict())


def take(pair, **options) -> Slice:
    return BezierSlicer(pair[0], progress=False).slice(end_point=pair[1], **options)


def loss_at(wrapper: ModelWrapper, state: dict[str, torch.Tensor], rings) -> float:
    with torch.no_grad():
        return nn.functional.cross_entropy(functional_call(wrapper.model, state, (rings[0],)), rings[1]).item()


@pytest.mark.parametrize("curve", ["bezier", "polychain"])
def test_ends_are_the_checkpoints(pair, rings, curve) -> None:
    found = take(pair, n_samples=5, training=replace(FEW, curve=curve))
    assert found.axes[0].values[[0, -1]].tolist() == [0.0, 1.0]
    assert found.loss[0] == pytest.approx(loss_at(pair[0], dict(pair[0].state()), rings), rel=1e-6)
    assert found.loss[-1] == pytest.approx(loss_at(*pair, rings), rel=1e-5)
    assert (found.slice_type, found.geometry) == ("bezier_curve", "curve")
    assert [marker.coordinates for marker in found.markers] == [(0.0,), (1.0,)]


@pytest.mark.parametrize("curve", ["bezier", "polychain"])
def test_an_untrained_curve_is_the_line(pair, curve) -> None:
    found = take(pair, n_samples=9, training=replace(FEW, steps=0, curve=curve))
    line = LinearInterpolationSlicer(pair[0], progress=False).slice(end_point=pair[1], n_samples=9, range=(0.0, 1.0))
    np.testing.assert_allclose(found.loss, line.loss, rtol=1e-4)
    straight = found.measures["straight_barrier"]
    assert straight.value == pytest.approx(found.measures["barrier"].value, rel=1e-3)
    assert straight.error == pytest.approx(found.measures["barrier"].error, rel=1e-3)


def test_a_trained_curve_is_low_where_the_line_is_high(pair) -> None:
    found = take(pair, n_samples=21, training=CurveTraining(steps=250, learning_rate=0.03, batch_size=64))
    straight, curve = found.measures["straight_barrier"], found.measures["barrier"]
    assert straight.value > 0.1
    assert curve.value < straight.value / 4
    assert max(straight.details["losses"]) > max(found.loss)
    control = found.directions[0].recipe
    assert (control["steps"], control["curve"], control["optimizer"]) == (250, "bezier", "adam")


def test_points_follow_the_formulas() -> None:
    start, control, end = np.array([0.0, 1.0]), np.array([2.0, 5.0]), np.array([4.0, -1.0])

    def at(name: str, t: float) -> np.ndarray:
        a, b = CURVES[name](t)
        return start + a * (control - start) + b * (end - start)

    for t in (0.0, 0.3, 0.5, 0.9, 1.0):
        expected = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
        np.testing.assert_allclose(at("bezier", t), expected)
        chain = start + 2 * t * (control - start) if t <= 0.5 else control + (2 * t - 1) * (end - control)
        np.testing.assert_allclose(at("polychain", t), chain)


def test_the_same_seed_gives_the_same_curve(pair) -> None:
    first, again = (take(pair, n_samples=5, training=FEW) for _ in range(2))
    assert np.array_equal(first.loss, again.loss)
    assert not np.array_equal(first.loss, take(pair, n_samples=5, training=replace(FEW, seed=1)).loss)


def test_batchnorm_is_trained_with_the_batch_and_left_alone(rings) -> None:
    wrapper = ModelWrapper(trained(1, *rings, batchnorm=True), nn.CrossEntropyLoss(), rings)
    end = dict(trained(2, *rings, batchnorm=True).state_dict())
    before = {name: tensor.clone() for name, tensor in wrapper.state().items()}
    found = take((wrapper, end), n_samples=3, training=replace(FEW, steps=100, learning_rate=0.03))
    assert found.measures["barrier"].value < found.measures["straight_barrier"].value
    assert all(torch.equal(tensor, before[name]) for name, tensor in wrapper.state().items())
    assert not any(module.training for module in wrapper.model.modules())


def test_what_can_not_be_is_told(pair) -> None:
    wrapper, end = pair
    with pytest.raises(UsageError, match="both ends of the line are the same point"):
        BezierSlicer(wrapper, progress=False).slice(end_point=wrapper.get_parameters())
    with pytest.raises(UsageError, match="end_point is missing"):
        BezierSlicer(wrapper, progress=False).slice()
    with pytest.raises(UsageError, match="--curve 'spline' is not one of bezier, polychain"):
        CurveTraining(curve="spline")
    with pytest.raises(UsageError, match="--learning-rate 0"):
        CurveTraining(learning_rate=0.0)
    with pytest.raises(UsageError, match="--batchnorm interpolate is for straight lines"):
        take(pair, batchnorm="interpolate", training=FEW)
    far = {name: tensor * 1e38 for name, tensor in end.items()}
    with pytest.raises(ConvergenceError, match=r"weights that are not finite.*--learning-rate"):
        take((wrapper, far), n_samples=3, training=FEW)
