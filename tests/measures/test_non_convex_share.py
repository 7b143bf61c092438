from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from slicer_core import CustomSlicer, EvaluationSettings, ModelWrapper
from slicer_core.measures import LossField, measure
from slicer_core.measures.nonconvexity import _least_eigenvalues, _metric

FIRST, SECOND = np.linspace(-1, 1, 6), np.array([-1, -0.5, 0.1, 0.4, 1.0])


@pytest.mark.parametrize(("norms", "cosine"), [((1.0, 1.0), 0.0), ((2.0, 0.5), 0.0), ((2.0, 0.5), 0.6)])
def test_of_a_quadratic_it_is_the_eigenvalue_of_the_plane_in_parameter_space(grid, norms, cosine) -> None:
    """In an orthonormal basis of the plane, whatever the two directions are that span it."""
    hessian = np.array([[1.0, 2.0], [2.0, -0.5]])
    data = grid(
        FIRST,
        SECOND,
        lambda a, b: 0.5 * (hessian[0, 0] * a**2 + 2 * hessian[0, 1] * a * b + hessian[1, 1] * b**2) + a - b,
        norms=norms,
        cosine=cosine,
    )
    field = LossField.of(data, "train")
    metric, known = _metric(field)
    assert known
    directions = np.array([[norms[0], 0.0], [cosine * norms[1], (1 - cosine**2) ** 0.5 * norms[1]]]).T
    back = np.linalg.inv(directions)
    expected = np.linalg.eigvalsh(back.T @ hessian @ back)[0]
    weights, eigenvalues = _least_eigenvalues(field, metric)
    np.testing.assert_allclose(eigenvalues, expected, rtol=1e-9)
    positions = np.lib.stride_tricks.sliding_window_view(np.arange(30).reshape(6, 5), (3, 3)).reshape(-1, 9)
    np.testing.assert_allclose((weights * field.values.reshape(-1)[positions]).sum(axis=1), expected, rtol=1e-9)
    assert measure(data)["non_convex_share"].value == 1.0


def test_the_sign_of_the_hessian_does_not_depend_on_the_metric(grid) -> None:
    for norms in ((1.0, 1.0), (10.0, 0.1)):
        data = grid(FIRST, SECOND, lambda a, b: a**3 + b**2, norms=norms)
        # The second derivative along the first axis is 6a, negative at two of the four inner columns.
        assert measure(data)["non_convex_share"].value == pytest.approx(0.5)


def test_a_bowl_has_none_and_a_flat_plane_neither(grid) -> None:
    assert measure(grid(FIRST, SECOND, lambda a, b: a**2 + b**2))["non_convex_share"].value == 0.0
    assert measure(grid([0, 1, 2], [0, 1, 2], np.zeros((3, 3))))["non_convex_share"].value == 0.0


def test_an_eigenvalue_within_its_error_does_not_count(grid) -> None:
    """λ = -2 along the first axis by weights 1, -2, 1: its error is at most 4 times that of a point."""
    share = [
        measure(grid([0, 1, 2], [0, 1, 2], lambda a, b: -(a**2) + 0 * b, errors=error))["non_convex_share"]
        for error in (0.0, 0.24, 0.26)
    ]
    assert [found.value for found in share] == [1.0, 1.0, 0.0]
    assert share[2].details["negative"] == 1.0


def test_points_next_to_one_that_is_not_finite_are_left_out(grid) -> None:
    values = -(np.arange(5.0)[:, None] ** 2) + np.zeros((5, 5))
    values[0, 0] = np.nan
    found = measure(grid(range(5), range(5), values))["non_convex_share"]
    assert (found.value, found.details["points"]) == (1.0, 8)
    assert "non_convex_share" not in measure(grid(range(3), range(3), np.full((3, 3), np.nan)))
    assert "non_convex_share" not in measure(grid([0, 1], [0, 1, 2], np.zeros((2, 3))))


def test_directions_on_one_line_have_no_metric(grid) -> None:
    found = measure(grid(FIRST, SECOND, lambda a, b: a**2 + b**2, cosine=1.0))["non_convex_share"]
    assert found.details["metric"] == "of the coordinates"


class Ripple(nn.Module):
    """v·sin(w·x): two parameters, and a loss with ridges and valleys."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.v * torch.sin(self.w * x)


def test_on_a_plane_that_is_plainly_not_convex_it_is_what_the_samples_own_curvatures_say() -> None:
    """λ's error from each sample's own second differences, where bounds of single points would count nothing."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, generator=generator)
    target = torch.sin(2 * x) + 0.3 * torch.randn(600, generator=generator)
    wrapper = ModelWrapper(Ripple(), nn.MSELoss(), (x, target))
    units = [{name: torch.tensor(1.0)} for name in ("w", "v")]
    settings = EvaluationSettings(dtype=torch.float64)
    found = CustomSlicer(wrapper, progress=False, settings=settings).slice(units, grid_size=(41, 31), range=(-1.5, 1.5))
    share = found.measures["non_convex_share"]

    field = LossField.of(found, "train")
    w, v = np.meshgrid(2 + field.coordinates[0], 1 + field.coordinates[1], indexing="ij")
    own = (v.reshape(-1, 1) * np.sin(w.reshape(-1, 1) * x.numpy().astype(float)) - target.numpy().astype(float)) ** 2
    weights, eigenvalues = _least_eigenvalues(field, _metric(field)[0])
    positions = np.lib.stride_tricks.sliding_window_view(np.arange(41 * 31).reshape(41, 31), (3, 3)).reshape(-1, 9)
    errors = (weights[:, :, None] * own[positions]).sum(axis=1).std(axis=1, ddof=1) / np.sqrt(600)
    expected = (eigenvalues < -2 * errors).mean()
    assert 0.2 < expected < 0.8
    assert share.value == pytest.approx(expected, abs=0.05)
    assert share.details["error"] == "random groups"
    assert measure(found)["non_convex_share"].value < 0.5 * expected
