from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.directions import random_direction
from slicer_core.measures import measure
from slicer_core.slices import Center, Direction

NORM = (Direction(name="alpha", recipe={}, norm=2.0),)


def test_of_a_parabola_it_is_exact_also_where_spacing_is_uneven(curve) -> None:
    found = measure(curve([-0.3, 0, 0.1], lambda a: 1 + a + 3 * a**2, directions=NORM))["curvature"]
    assert found.value == pytest.approx(6.0)
    assert found.details["by_length"] == pytest.approx(6.0 / 4)
    assert found.details["h"] == pytest.approx(0.2)


def test_its_error_bounds_that_of_the_weighted_points(curve) -> None:
    found = measure(curve([-0.5, 0, 0.5], [1, 0, 1], errors=[0.1, 0, 0.2]))["curvature"]
    assert found.error == pytest.approx((0.1 + 0.2) / 0.25)
    assert measure(curve([-0.5, 0, 0.5], [1, 0, 1]))["curvature"].error is None


def test_a_center_at_the_edge_or_off_the_grid_has_none(curve) -> None:
    for at in ([0, 1, 2], [-2, -1, 0], [-1.5, -0.5, 0.5], [0]):
        assert "curvature" not in measure(curve(at, lambda a: a**2))


def test_a_neighbor_that_is_not_finite_makes_it_so(curve) -> None:
    assert measure(curve([-1, 0, 1], [np.inf, 0, 1]))["curvature"].value == math.inf
    assert math.isnan(measure(curve([-1, 0, 1], [np.nan, 0, 1]))["curvature"].value)


def test_a_grid_has_one_along_each_axis_and_a_family_the_largest(grid, family) -> None:
    at, beside = np.linspace(-1, 1, 5), np.linspace(-2, 1, 4)
    found = measure(grid(at, beside, lambda a, b: a**2 + 5 * b**2 + a * b))
    assert found["curvature_0"].value == pytest.approx(2.0)
    assert found["curvature_1"].value == pytest.approx(10.0)
    assert found["curvature_1"].details["axis"] == "beta"
    several = measure(family(at, lambda a: a**2, lambda a: 3 * a**2, lambda a: -4 * a**2))["curvature"]
    assert several.value == pytest.approx(6.0)
    assert several.details["curve"] == "b"
    assert several.details["curves"] == pytest.approx({"a": 2.0, "b": 6.0, "c": -8.0})


def test_along_a_direction_of_a_network_it_is_the_hessian_vector_product(network) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    slicer = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(dtype=torch.float64), progress=False)
    found = slicer.slice_1d(n_samples=3, range=(-1e-3, 1e-3), normalize="none", ignore="none").measures["curvature"]
    model = copy.deepcopy(net.model).double().eval()
    parameters = dict(model.named_parameters())
    direction = {key: part.double() for key, part in random_direction(parameters, seed=0, axis=0).items()}

    def loss(step: Tensor) -> Tensor:
        moved = {key: parameters[key].detach() + step * direction[key] for key in parameters}
        return nn.functional.cross_entropy(torch.func.functional_call(model, moved, net.inputs.double()), net.classes)

    second = torch.func.grad(torch.func.grad(loss))(torch.zeros((), dtype=torch.float64))
    assert found.value == pytest.approx(second.item(), rel=1e-4)
    length = math.sqrt(sum(float((part**2).sum()) for part in direction.values()))
    assert found.details["by_length"] == pytest.approx(found.value / length**2, rel=1e-6)


def test_roughness_of_a_parabola(curve) -> None:
    """Second differences 2h² everywhere, over a range of 1."""
    found = measure(curve(np.linspace(-1, 1, 21), lambda a: a**2))["roughness"]
    assert found.value == pytest.approx(2 * 0.1**2)
    assert found.error is None


def test_roughness_of_a_straight_line_or_constant_is_zero_and_of_a_zigzag_two(curve) -> None:
    at = np.linspace(0, 1, 8)
    assert measure(curve(at, lambda a: 3 * a))["roughness"].value == pytest.approx(0.0, abs=1e-12)
    assert measure(curve(at, lambda a: 0 * a + 7))["roughness"].value == 0.0
    assert measure(curve(at, [0, 1] * 4))["roughness"].value == pytest.approx(2.0)


def test_roughness_of_a_grid_counts_both_axes(grid) -> None:
    found = measure(grid([0, 1, 2], [0, 1, 2, 3], lambda a, b: a**2 + 0 * b))["roughness"]
    # Four second differences of 2 along the first axis, six of 0 along the second; range 4.
    assert found.value == pytest.approx(math.sqrt(4 * 2**2 / 10) / 4)


def test_roughness_leaves_out_what_is_not_finite(curve) -> None:
    assert measure(curve([0, 1, 2, 3], [0, 1, 4, np.nan]))["roughness"].value == pytest.approx(2 / 4)
    assert "roughness" not in measure(curve([0, 1, 2], [0, np.nan, 1]))
    assert "roughness" not in measure(curve([0, 1], [0, 1]))
    assert "roughness" not in measure(curve([0, 0, 1], [0, 1, 1]))


def test_the_largest_increase_is_of_finite_points_to_the_center(curve, grid, family) -> None:
    found = measure(curve([-1, 0, 1], [4, 1, np.inf], errors=[0.5, 0, 1]))["largest_increase"]
    assert (found.value, found.error, found.details["at"]) == (3.0, 0.5, [-1.0])
    assert measure(curve([-1, 1], [4, 2], center=5.0))["largest_increase"].value == -1.0
    assert "largest_increase" not in measure(curve([-1, 1], [4, 2]))
    assert "largest_increase" not in measure(curve([0, 1], [np.nan, 2]))
    plane = measure(grid([0, 1], [0, 2], [[0, 1], [7, 2]]))["largest_increase"]
    assert (plane.value, plane.details["at"]) == (7.0, [1.0, 0.0])
    several = family([0, 1], [0, 1], [0, 5])
    assert "largest_increase" not in measure(several)
    known = type(several).from_dict(several.to_dict() | {"center": {"loss": {"train": 2.0}}})
    assert known.center == Center(loss={"train": 2.0})
    found = measure(known)["largest_increase"]
    assert (found.value, found.details["at"]) == (3.0, ["b", 1.0])


def test_the_share_of_points_without_a_finite_loss(grid) -> None:
    found = measure(grid([0, 1], [0, 1, 2], [[0, np.nan, 1], [np.inf, 2, -np.inf]]))["non_finite_share"]
    assert (found.value, found.details["points"], found.error) == (0.5, 3, None)
    assert measure(grid([0, 1], [0, 1], np.zeros((2, 2))))["non_finite_share"].value == 0.0
