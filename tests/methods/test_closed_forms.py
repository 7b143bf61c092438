"""Slices of losses that are known in closed form."""

from __future__ import annotations

import copy

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
from slicer_core.directions import random_direction
from slicer_core.slices import Slice

FLOAT64 = EvaluationSettings(dtype=torch.float64)


def center_loss(found: Slice, split: str = "train") -> float:
    assert found.center is not None
    return found.center.loss[split]


class Bowl(nn.Module):
    """½ (θ - b)ᵀ A (θ - b) with the loss of sample b; no input is needed."""

    curvature: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.theta = nn.Parameter(torch.randn(2, 3, generator=generator))
        root = torch.randn(6, 6, generator=generator)
        self.register_buffer("curvature", root @ root.T)

    def forward(self, offsets: Tensor) -> Tensor:
        away = self.theta.reshape(-1) - offsets
        return 0.5 * torch.einsum("ni,ij,nj->n", away, self.curvature, away)


def bowl() -> tuple[Bowl, ModelWrapper, Tensor]:
    model = Bowl()
    offsets = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    return model, ModelWrapper(model, lambda output, target: output, (offsets, torch.zeros(9))), offsets


def quadratic(model: Bowl, offsets: Tensor, theta: Tensor) -> float:
    """Of the mean over samples, by the mean and covariance of b, which is not how the model computes it."""
    curvature, b = model.curvature.double(), offsets.double()
    away = theta.double().reshape(-1) - b.mean(0)
    spread = (b - b.mean(0)).T @ (b - b.mean(0)) / len(b)
    return (0.5 * away @ curvature @ away + 0.5 * torch.trace(curvature @ spread)).item()


def theta_direction(model: Bowl, axis: int) -> Tensor:
    return random_direction({"theta": model.theta}, seed=0, axis=axis)["theta"].double()


def test_a_quadratic_plane() -> None:
    model, wrapper, offsets = bowl()
    found = RandomDirectionSlicer(wrapper, settings=FLOAT64, progress=False).slice_2d(
        grid_size=(3, 4), range=((-1.0, 2.0), (0.0, 1.0)), normalize="none"
    )
    first, second = (theta_direction(model, axis) for axis in (0, 1))
    for i, a in enumerate(found.axes[0].values):
        for j, b in enumerate(found.axes[1].values):
            theta = model.theta.detach().double() + a * first + b * second
            assert found.loss[i, j] == pytest.approx(quadratic(model, offsets, theta), rel=1e-12)


def test_a_quadratic_curve() -> None:
    model, wrapper, offsets = bowl()
    found = RandomDirectionSlicer(wrapper, settings=FLOAT64, progress=False).slice_1d(n_samples=4, normalize="none")
    direction = theta_direction(model, 0)
    expected = [quadratic(model, offsets, model.theta.detach().double() + a * direction) for a in found.axes[0].values]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-12)


def test_a_quadratic_line() -> None:
    model, wrapper, offsets = bowl()
    end = wrapper.get_random_parameters(1.0, seed=4)
    found = LinearInterpolationSlicer(wrapper, settings=FLOAT64, progress=False).slice(end_point=end, n_samples=9)
    start = model.theta.detach().double()
    expected = [quadratic(model, offsets, (1 - a) * start + a * end["theta"].double()) for a in found.axes[0].values]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-6)


def test_second_differences_along_a_parameter_are_the_diagonal_of_the_hessian(network) -> None:
    net = network("mlp")
    step = 1e-3
    chosen = [0, 7, 31, 40]
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    found = AxisParallelSlicer(wrapper, settings=FLOAT64, progress=False).slice(
        bounds=(-step, step), n_samples=3, params_to_slice=chosen
    )
    second = (found.loss[:, 0] - 2 * found.loss[:, 1] + found.loss[:, 2]) / step**2
    slope = (found.loss[:, 2] - found.loss[:, 0]) / (2 * step)

    model = copy.deepcopy(net.model).double().eval()
    parameters = dict(model.named_parameters())
    sizes = [parameter.numel() for parameter in parameters.values()]

    def loss(flat: Tensor) -> Tensor:
        pieces = {
            name: piece.reshape(parameters[name].shape)
            for name, piece in zip(parameters, flat.split(sizes), strict=True)
        }
        return nn.functional.cross_entropy(torch.func.functional_call(model, pieces, net.inputs.double()), net.classes)

    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters.values()])
    hessian = torch.autograd.functional.hessian(loss, flat)
    assert isinstance(hessian, Tensor)
    np.testing.assert_allclose(second, hessian.diag()[chosen].numpy(), atol=1e-6)
    gradient = torch.autograd.functional.jacobian(loss, flat)
    assert isinstance(gradient, Tensor)
    np.testing.assert_allclose(slope, gradient[chosen].numpy(), atol=1e-6)


def test_center_and_ends_of_a_line_are_on_it_and_exact(network) -> None:
    net = network("convolution")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    end = wrapper.get_random_parameters(0.5, seed=1)
    found = LinearInterpolationSlicer(wrapper, progress=False).slice(end_point=end, n_samples=20)
    at = {alpha: found.loss[index] for index, alpha in enumerate(found.axes[0].values)}

    own, ended = copy.deepcopy(net.model).eval(), copy.deepcopy(net.model).eval()
    ended.load_state_dict(end, strict=False)
    with torch.no_grad():
        losses = [nn.functional.cross_entropy(model(net.inputs), net.classes).item() for model in (own, ended)]
    assert at[0.0] == pytest.approx(losses[0], rel=1e-6)
    assert at[1.0] == pytest.approx(losses[1], rel=1e-6)
    start, end_marker = found.markers
    assert (start.name, start.coordinates, end_marker.name, end_marker.coordinates) == ("start", (0.0,), "end", (1.0,))
    assert start.loss["train"] == at[0.0] == center_loss(found)
    assert end_marker.loss["train"] == pytest.approx(losses[1], rel=1e-6)


def relu_network(scales: Tensor) -> ModelWrapper:
    """The same function for all positive scales of the hidden units."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, last = nn.Linear(4, 5), nn.Linear(5, 3)
        data = torch.randn(12, 4), torch.randint(0, 3, (12,))
    with torch.no_grad():
        first.weight *= scales[:, None]
        first.bias.mul_(scales)
        last.weight /= scales
    return ModelWrapper(nn.Sequential(first, nn.ReLU(), last), nn.CrossEntropyLoss(), data)


def plane(scales: Tensor, **options) -> np.ndarray:
    wrapper = relu_network(scales)
    return RandomDirectionSlicer(wrapper, settings=FLOAT64, progress=False).slice_2d(grid_size=5, **options).loss


def test_scaling_a_whole_layer_leaves_a_filter_normalized_slice_as_it_is() -> None:
    """Powers of two scale floating numbers without rounding."""
    np.testing.assert_allclose(plane(torch.full((5,), 8.0)), plane(torch.ones(5)), rtol=1e-6)
    np.testing.assert_allclose(
        plane(torch.full((5,), 8.0), ignore="none"), plane(torch.ones(5), ignore="none"), rtol=1e-6
    )


def test_scaling_single_units_or_not_normalizing_changes_it() -> None:
    one_unit = torch.tensor([8.0, 1, 1, 1, 1])
    assert np.abs(plane(one_unit) - plane(torch.ones(5))).max() > 1e-2
    unscaled = {"normalize": "none"}
    assert np.abs(plane(torch.full((5,), 8.0), **unscaled) - plane(torch.ones(5), **unscaled)).max() > 1e-2


def test_values_belong_to_their_axes() -> None:
    """A loss that is steep in one direction and flat in the other, on a grid that is not square."""
    model = nn.Linear(1, 1, bias=False)

    def batch_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return model.get_parameter("weight").exp().mean() + 0 * batch[0].mean()

    wrapper = ModelWrapper(model, train_data=(torch.ones(4, 1), torch.ones(4)), batch_loss=batch_loss)
    found = RandomDirectionSlicer(wrapper, settings=FLOAT64, progress=False).slice_2d(
        grid_size=(2, 5), range=((0.0, 1.0), (0.0, 3.0)), normalize="none"
    )
    first, second = (random_direction({"weight": model.weight}, seed=0, axis=axis)["weight"].item() for axis in (0, 1))
    assert found.loss.shape == (2, 5)
    for i in range(2):
        for j in range(5):
            moved = model.weight.item() + found.axes[0].values[i] * first + found.axes[1].values[j] * second
            assert found.loss[i, j] == pytest.approx(np.exp(moved), rel=1e-12)
