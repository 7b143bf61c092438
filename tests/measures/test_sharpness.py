"""Held against a quadratic loss, whose highest rise within a ball is known."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import DataError, UsageError
from slicer_core.measures.gradient import LossGradient
from slicer_core.measures.sam import sam_sharpness
from slicer_core.measures.sharpness import adaptive_sharpness, sharpness
from slicer_core.measures.surroundings import Surroundings
from slicer_core.plan import SlicePlan
from slicer_core.slices import Axis

EIGENVALUES = [8.0, 2.0, 1.0, 0.5, -0.5, -1.0]
FLOAT64 = EvaluationSettings(dtype=torch.float64)


class Bowl(nn.Module):
    """½ (θ - b)ᵀ H (θ - b) with the loss of sample b."""

    hessian: Tensor

    def __init__(self, eigenvalues: list[float]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        basis, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
        self.theta = nn.Parameter(torch.zeros(2, 3))
        self.register_buffer("hessian", basis @ torch.diag(torch.tensor(eigenvalues)) @ basis.T)

    def forward(self, offsets: Tensor) -> Tensor:
        away = self.theta.reshape(-1) - offsets
        return 0.5 * torch.einsum("ni,ij,nj->n", away, self.hessian, away)


def around(model: nn.Module, offsets: Tensor, settings: EvaluationSettings = FLOAT64) -> Surroundings:
    wrapper = ModelWrapper(model, lambda output, target: output, (offsets, torch.zeros(len(offsets))))
    axis = Axis(name="alpha", label="α", values=np.zeros(1))
    plan = SlicePlan(slice_type="random_direction_1d", geometry="curve", axes=(axis,), blocks=())
    return Surroundings(wrapper=wrapper, state=wrapper.state(), plan=plan, split="train", settings=settings, seed=0)


def centered(samples: int = 8) -> Tensor:
    """Offsets whose mean is zero, so that θ = 0 is where the gradient vanishes."""
    offsets = torch.randn(samples, 6)
    return offsets - offsets.mean(0)


def test_at_a_stationary_point_it_is_half_the_top_eigenvalue_times_the_squared_radius() -> None:
    found = sharpness(around(Bowl(EIGENVALUES), centered()), radius=0.3).measures["sharpness"]
    exact = 8.0 / 2 * 0.3**2
    assert 0.999 * exact <= found.value <= exact * (1 + 1e-6)
    assert found.details == {"radius": 0.3, "steps": 20, "restarts": 2, "bound": "lower"}


def test_with_a_gradient_it_is_the_maximum_over_the_ball() -> None:
    """The maximum of gᵀδ + ½δᵀHδ on the sphere, by the secular equation: δ = (μ - H)⁻¹g with ‖δ‖ = ρ, μ above λ_max."""
    model, radius = Bowl(EIGENVALUES), 0.5
    offsets = centered() + 0.3 * torch.randn(6)
    hessian = model.hessian.double()
    gradient = -hessian @ offsets.double().mean(0)
    low, high = 8.0 + 1e-9, 1000.0
    for _ in range(200):
        middle = (low + high) / 2
        length = torch.linalg.solve(middle * torch.eye(6).double() - hessian, gradient).norm()
        low, high = (middle, high) if length > radius else (low, middle)
    step = torch.linalg.solve(high * torch.eye(6).double() - hessian, gradient)
    exact = (gradient @ step + 0.5 * step @ hessian @ step).item()
    found = sharpness(around(model, offsets), radius=radius).measures["sharpness"]
    assert 0.999 * exact <= found.value <= exact * (1 + 1e-6)


def test_its_error_is_that_of_the_samples_own_rises() -> None:
    """SAM's step, since δ is known there: the rises of the samples are gᵢᵀδ + ½δᵀHδ."""
    model, radius = Bowl(EIGENVALUES), 0.2
    offsets = centered() + torch.randn(6)
    found = sam_sharpness(around(model, offsets), radius=radius).measures["sam_sharpness"]
    hessian = model.hessian.double()
    gradients = -offsets.double() @ hessian
    gradient = gradients.mean(0)
    step = radius * gradient / gradient.norm()
    rises = gradients @ step + 0.5 * step @ hessian @ step
    assert found.value == pytest.approx(rises.mean().item(), rel=1e-9)
    assert found.error == pytest.approx(rises.std().item() / math.sqrt(8), rel=1e-6)
    assert found.details["gradient_norm"] == pytest.approx(gradient.norm().item(), rel=1e-9)


def test_adaptive_steps_scale_with_the_weights() -> None:
    """With H diagonal and θ the minimum: max over ‖u‖ ≤ ρ of ½ Σ λᵢθᵢ²uᵢ² = ½ρ²·max λᵢθᵢ²; a zero weight stays."""
    model = Bowl(EIGENVALUES)
    model.hessian = torch.diag(torch.tensor(EIGENVALUES))
    theta = torch.tensor([0.0, 3.0, 1.0, 2.0, 1.0, 1.0])
    with torch.no_grad():
        model.theta.copy_(theta.reshape(2, 3))
    found = adaptive_sharpness(around(model, centered() + theta), radius=0.1).measures["adaptive_sharpness"]
    exact = 0.5 * 0.1**2 * 2.0 * 9.0
    assert 0.999 * exact <= found.value <= exact * (1 + 1e-6)


def test_rescaling_layers_against_each_other_leaves_the_adaptive_one_and_changes_the_plain_one() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 1, bias=False), nn.Flatten(0))
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        scaled[0].weight.mul_(4.0)
        scaled[2].weight.div_(4.0)
    data = torch.randn(12, 6)
    plain = [sharpness(around(entry, data), restarts=1).measures["sharpness"].value for entry in (model, scaled)]
    adaptive = [
        adaptive_sharpness(around(entry, data), restarts=1).measures["adaptive_sharpness"].value
        for entry in (model, scaled)
    ]
    assert adaptive[0] == pytest.approx(adaptive[1], rel=1e-6)
    assert abs(plain[0] - plain[1]) > 0.05 * plain[0]


def test_a_maximum_has_no_sharpness_and_a_flat_loss_no_gradient_to_step_along() -> None:
    hill = sharpness(around(Bowl([-1.0] * 6), centered()), radius=0.1).measures["sharpness"]
    assert hill.value == pytest.approx(0.0, abs=1e-12)
    flat = around(Bowl([0.0] * 6), centered())
    assert sharpness(flat).measures["sharpness"].value == 0.0
    assert math.isnan(sam_sharpness(flat).measures["sam_sharpness"].value)


def test_a_center_that_is_not_finite_gives_nan() -> None:
    offsets = centered()
    offsets[0] = math.nan
    assert math.isnan(sharpness(around(Bowl(EIGENVALUES), offsets)).measures["sharpness"].value)
    assert math.isnan(sam_sharpness(around(Bowl(EIGENVALUES), offsets)).measures["sam_sharpness"].value)


def test_weight_decay_is_a_part_of_the_loss() -> None:
    """½λ‖θ‖² around 0 raises every eigenvalue by λ."""
    settings = EvaluationSettings(dtype=torch.float64, weight_decay=2.0)
    found = sharpness(around(Bowl(EIGENVALUES), centered(), settings), radius=0.3).measures["sharpness"]
    assert found.value == pytest.approx((8.0 + 2.0) / 2 * 0.3**2, rel=1e-3)


@pytest.mark.parametrize("name", ["mlp", "convolution", "attention", "lstm"])
def test_the_gradient_is_that_of_the_whole_split_whatever_the_batches(network, name) -> None:
    net = network(name)
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    before = {key: tensor.clone() for key, tensor in wrapper.state().items()}
    plan = SlicePlan(slice_type="random_direction_1d", geometry="curve", axes=(), blocks=())
    settings = EvaluationSettings(batch_size=7, dtype=torch.float64)
    given = Surroundings(wrapper=wrapper, state=wrapper.state(), plan=plan, split="train", settings=settings)
    found = LossGradient(given).at({})

    model = copy.deepcopy(net.model).double().eval()
    inputs = net.inputs.double() if net.inputs.is_floating_point() else net.inputs
    loss = nn.functional.cross_entropy(model(inputs), net.classes)
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=1e-10)
    for key, parameter in model.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found.gradient[key], expected, rtol=1e-7, atol=1e-10)
    for key, tensor in wrapper.state().items():
        assert torch.equal(tensor, before[key])
    assert all(parameter.grad is None for parameter in net.model.parameters())


def test_a_loss_without_a_gradient_is_an_error_that_says_so() -> None:
    model = nn.Linear(2, 2)

    def detached(model: nn.Module, batch) -> Tensor:
        with torch.no_grad():
            return model(batch[0]).square().mean(dim=1)

    wrapper = ModelWrapper(model, None, (torch.randn(4, 2), torch.zeros(4)), batch_loss=detached)
    slicer = RandomDirectionSlicer(wrapper, measures=("sam_sharpness",), progress=False)
    with pytest.raises(DataError, match="has no gradient"):
        slicer.slice_1d(n_samples=3)


def test_a_slicer_measures_what_it_is_asked_for() -> None:
    wrapper = ModelWrapper(nn.Linear(3, 2), nn.CrossEntropyLoss(), (torch.randn(20, 3), torch.randint(0, 2, (20,))))
    found = RandomDirectionSlicer(wrapper, measures=("sharpness", "sam_sharpness"), progress=False).slice_1d(
        n_samples=3
    )
    assert found.measures["sharpness"].value >= found.measures["sam_sharpness"].value > 0
    assert "adaptive_sharpness" not in found.measures
    with pytest.raises(UsageError, match="names 'sharp'"):
        RandomDirectionSlicer(wrapper, measures=("sharp",))
