"""Weight decay in the loss of a slice, against ½λ‖θ‖² summed up at every point."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import (
    AxisParallelSlicer,
    EvaluationSettings,
    LinearInterpolationSlicer,
    ModelWrapper,
    RandomDirectionSlicer,
)
from slicer_core.errors import UsageError
from slicer_core.slices import Slice, decode_slice, encode_slice

DECAY = 0.3
SETTINGS = EvaluationSettings(dtype=torch.float64, weight_decay=DECAY)

Vector = dict[str, Tensor]


@pytest.fixture
def net(network: Any) -> Any:
    """The small network with a frozen layer."""
    found = network("mlp")
    found.model[0].weight.requires_grad_(False)
    return found


def wrapped(net: Any) -> ModelWrapper:
    metrics = {"accuracy": lambda output, target: (output.argmax(dim=1) == target).float()}
    return ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data, metrics=metrics)


def losses(net: Any, points: Sequence[Vector]) -> np.ndarray:
    """Loss and penalty in float64, one point after another."""
    model = copy.deepcopy(net.model).double().eval()
    found = []
    with torch.no_grad():
        for point in points:
            for name, tensor in point.items():
                model.get_parameter(name).copy_(tensor)
            squares = sum(float((p**2).sum()) for p in model.parameters() if p.requires_grad)
            found.append(nn.CrossEntropyLoss()(model(net.inputs.double()), net.classes).item() + DECAY / 2 * squares)
    return np.array(found)


def start(net: Any) -> Vector:
    return {name: parameter.detach().double() for name, parameter in net.model.named_parameters()}


def moved(net: Any, *steps: tuple[float, Vector]) -> Vector:
    point = start(net)
    for alpha, direction in steps:
        point |= {name: point[name] + alpha * tensor.double() for name, tensor in direction.items()}
    return point


def trained(net: Any) -> Vector:
    return {name: p.detach() for name, p in net.model.named_parameters() if p.requires_grad}


def test_along_a_random_direction(net, plain_direction) -> None:
    found = RandomDirectionSlicer(wrapped(net), settings=SETTINGS, progress=False).slice_1d(n_samples=4, range=(-2, 3))
    direction = plain_direction(trained(net), seed=0, axis=0)
    expected = losses(net, [moved(net, (alpha, direction)) for alpha in found.axes[0].values])
    np.testing.assert_allclose(found.loss, expected, rtol=1e-6)


def test_on_a_grid_that_is_not_square(net, plain_direction) -> None:
    slicer = RandomDirectionSlicer(wrapped(net), settings=SETTINGS, progress=False)
    found = slicer.slice_2d(grid_size=(3, 4), range=((0.0, 2.0), (-1.0, 3.0)))
    first, second = (plain_direction(trained(net), seed=0, axis=axis) for axis in (0, 1))
    across, along = (axis.values for axis in found.axes)
    points = [moved(net, (a, first), (b, second)) for a in across for b in along]
    np.testing.assert_allclose(found.loss, losses(net, points).reshape(3, 4), rtol=1e-6)


def test_along_single_scalars(net) -> None:
    slicer = AxisParallelSlicer(wrapped(net), settings=SETTINGS, progress=False)
    found = slicer.slice(n_samples=3, bounds=(-1.0, 2.0), params_to_slice=[0, 5, 7, 24])
    assert found.loss.shape == (4, 3)
    for curve, row in zip(found.curves, found.loss, strict=True):
        name = curve.name.partition("[")[0]
        one = torch.zeros(curve.shape, dtype=torch.float64)
        one[curve.index] = 1.0
        np.testing.assert_allclose(
            row, losses(net, [moved(net, (a, {name: one})) for a in found.axes[0].values]), rtol=1e-9
        )


def test_on_a_line_whose_frozen_parameters_move_too(net) -> None:
    end = {name: tensor.float() for name, tensor in moved(net).items()}
    for tensor in end.values():
        tensor.add_(torch.randn(tensor.shape))
    found = LinearInterpolationSlicer(wrapped(net), settings=SETTINGS, progress=False).slice(end_point=end, n_samples=5)
    difference = {name: end[name].double() - tensor for name, tensor in start(net).items()}
    expected = losses(net, [moved(net, (alpha, difference)) for alpha in found.axes[0].values])
    np.testing.assert_allclose(found.loss, expected, rtol=1e-6)
    marks = [marker.loss["train"] for marker in found.markers]
    np.testing.assert_allclose(marks, losses(net, [start(net), end]), rtol=1e-9)


def slices_with_and_without(net: Any, **settings: Any) -> tuple[Slice, Slice]:
    with_decay = EvaluationSettings(weight_decay=DECAY, **settings)
    found, plain = (
        RandomDirectionSlicer(wrapped(net), settings=chosen, progress=False).slice_1d(n_samples=3)
        for chosen in (with_decay, replace(with_decay, weight_decay=0.0))
    )
    return found, plain


def test_the_center_is_told_with_and_without_it(net) -> None:
    found, plain = slices_with_and_without(net, samples=10)
    assert found.center is not None
    assert plain.center is not None
    penalty = DECAY / 2 * sum(float((tensor.double() ** 2).sum()) for tensor in trained(net).values())
    assert found.center.data_loss == plain.center.loss
    assert found.center.loss["train"] == pytest.approx(plain.center.loss["train"] + penalty, rel=1e-12)
    assert found.center.whole_loss["train"] == pytest.approx(plain.center.whole_loss["train"] + penalty, rel=1e-12)
    assert plain.center.data_loss == {}
    assert (found.config["weight_decay"], plain.config["weight_decay"]) == (DECAY, 0.0)
    assert decode_slice(encode_slice(found)).center == found.center


def test_nothing_but_the_loss_is_changed(net) -> None:
    found, plain = slices_with_and_without(net)
    for mine, other in zip(found.arrays, plain.arrays, strict=True):
        is_loss = (mine.name, mine.role) == ("loss", "value")
        assert np.array_equal(mine.values, other.values) != is_loss


def test_tied_parameters_count_once(network) -> None:
    net = network("attention")
    found, plain = slices_with_and_without(net)
    squares = sum(float((p.detach().double() ** 2).sum()) for p in net.model.parameters())
    assert found.loss[1] - plain.loss[1] == pytest.approx(DECAY / 2 * squares, rel=1e-9)


@pytest.mark.parametrize("strength", [-1e-9, math.nan, math.inf])
def test_a_decay_that_is_no_number_from_zero_up_is_refused(strength: float) -> None:
    with pytest.raises(UsageError, match=f"weight_decay={strength} is not a finite number from 0 up"):
        EvaluationSettings(weight_decay=strength)
