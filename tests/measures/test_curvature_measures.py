"""Eigenvalues, traces and the map of both ends of the spectrum, against Hessians that are written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.measures.curvature_map import curvature_map
from slicer_core.measures.eigenvalues import eigenvalues
from slicer_core.measures.surroundings import Surroundings
from slicer_core.measures.trace import trace
from slicer_core.plan import PointBlock, SlicePlan, grid_coefficients
from slicer_core.slices import Axis


@pytest.fixture(scope="module")
def network() -> ModelWrapper:
    """37 parameters in float64."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2, bias=False))
    return ModelWrapper(
        model.double(), nn.CrossEntropyLoss(), (torch.randn(20, 3).double(), torch.randint(0, 2, (20,)))
    )


def spectrum(wrapper: ModelWrapper, state: dict[str, torch.Tensor]) -> np.ndarray:
    names = wrapper.varying_names()
    ((inputs, target),) = [batch.data for batch in wrapper.split("train").batches()]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([state[name].numel() for name in names])
        named = {name: part.reshape(state[name].shape) for name, part in zip(names, parts, strict=True)}
        return nn.functional.cross_entropy(functional_call(wrapper.model, named, (inputs,)), target)

    hessian = torch.autograd.functional.hessian(loss, torch.cat([state[name].reshape(-1) for name in names]))
    assert isinstance(hessian, torch.Tensor)
    return np.linalg.eigvalsh(hessian.numpy())


def around(wrapper: ModelWrapper, shape: tuple[int, int] = (2, 2)) -> Surroundings:
    axes = tuple(
        Axis(name=f"a{index}", label="α", values=np.linspace(-0.5, 1.0, size)) for index, size in enumerate(shape)
    )
    torch.manual_seed(7)
    directions = tuple(
        {name: torch.randn_like(wrapper.state()[name]) for name in wrapper.varying_names()} for _ in "12"
    )
    block = PointBlock(directions=lambda: directions, coefficients=grid_coefficients(axes))
    plan = SlicePlan(slice_type="random_direction_2d", geometry="grid", axes=axes, blocks=(block,))
    return Surroundings(
        wrapper=wrapper, state=wrapper.state(), plan=plan, split="train", settings=EvaluationSettings(), seed=0
    )


def test_eigenvalues_of_both_ends(network) -> None:
    expected = spectrum(network, network.state())
    found = eigenvalues(around(network)).measures["eigenvalues"]
    assert found.value == pytest.approx(expected[-1], abs=1e-4)
    assert found.details["top"] == pytest.approx(expected[::-1][:5], abs=1e-4)
    assert found.details["bottom"] == pytest.approx(expected[0], abs=1e-4)
    assert max(found.details["residuals"]) < 1e-4


def test_the_trace_is_the_sum_of_all(network) -> None:
    found = trace(around(network), probes=100).measures["trace"]
    assert found.error is not None
    assert abs(found.value - spectrum(network, network.state()).sum()) < 3 * found.error
    layers = found.details["layers"]
    assert list(layers) == ["0", "2", "4"]
    assert sum(layer["value"] for layer in layers.values()) == pytest.approx(found.value)
    assert trace(around(network), probes=1).measures["trace"].error is None


def test_the_map_has_the_extremes_of_each_point(network) -> None:
    place = around(network, (3, 2))
    found = curvature_map(place, tolerance=1e-6)
    arrays = {array.name: array.values for array in found.arrays}
    assert set(arrays) == {"lambda_min", "lambda_max", "lambda_ratio", "lambda_residual"}
    directions = place.plan.blocks[0].directions()
    for row, first in enumerate(place.plan.axes[0].values):
        for column, second in enumerate(place.plan.axes[1].values):
            state = {
                name: tensor + first * directions[0][name] + second * directions[1][name]
                for name, tensor in network.state().items()
            }
            expected = spectrum(network, state)
            assert arrays["lambda_max"][row, column] == pytest.approx(expected[-1], rel=1e-4)
            assert arrays["lambda_min"][row, column] == pytest.approx(expected[0], rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(arrays["lambda_ratio"], np.abs(arrays["lambda_min"] / arrays["lambda_max"]))
    assert found.measures["curvature_map"].value == arrays["lambda_ratio"].max()


def test_between_computed_points_the_map_is_interpolated_and_marked(network) -> None:
    place = around(network, (5, 3))
    coarse, fine = curvature_map(place, points=3), curvature_map(place)
    by_role = {(array.name, array.role): array.values for array in coarse.arrays}
    whole = {array.name: array.values for array in fine.arrays}
    assert {role for _, role in by_role} == {"value", "interpolated"}
    assert {array.role for array in fine.arrays} == {"value"}
    marked = by_role["lambda_max", "interpolated"]
    assert marked.tolist() == [[0, 0, 0], [1, 1, 1]] * 2 + [[0, 0, 0]]
    values = by_role["lambda_max", "value"]
    np.testing.assert_allclose(values[::2], whole["lambda_max"][::2])
    np.testing.assert_allclose(values[1], (values[0] + values[2]) / 2)
    assert coarse.measures["curvature_map"].details["computed"] == [3, 3]


def test_points_without_a_finite_hessian_are_nan(network) -> None:
    place = around(network, (2, 2))
    directions = place.plan.blocks[0].directions()
    far = tuple({name: tensor.sign() * 1e308 for name, tensor in direction.items()} for direction in directions)
    axes = tuple(Axis(name=axis.name, label="α", values=np.array([0.0, 10.0])) for axis in place.plan.axes)
    block = PointBlock(directions=lambda: far, coefficients=grid_coefficients(axes))
    plan = SlicePlan(slice_type="random_direction_2d", geometry="grid", axes=axes, blocks=(block,))
    found = curvature_map(
        Surroundings(wrapper=network, state=network.state(), plan=plan, split="train", settings=EvaluationSettings())
    )
    arrays = {array.name: array.values for array in found.arrays}
    assert np.isfinite(arrays["lambda_max"][0, 0])
    assert np.isnan(arrays["lambda_max"][1, 1])
    assert found.measures["curvature_map"].details["failed"] >= 1


def test_a_slice_has_what_is_asked_for(network) -> None:
    slicer = RandomDirectionSlicer(network, measures=("trace", "curvature_map"), progress=False)
    found = slicer.slice_2d(grid_size=2)
    assert {"trace", "curvature_map"} <= set(found.measures)
    assert found.array("lambda_ratio").shape == (2, 2)
