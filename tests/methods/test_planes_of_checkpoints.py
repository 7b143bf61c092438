"""`pca2d`, `plane` and `--trajectory`: planes that are spanned by checkpoints, and the path in a plane."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import EvaluationSettings, ModelWrapper, PCASlicer, PlaneSlicer
from slicer_core.errors import CheckpointError, UsageError
from slicer_core.methods.method import CenterPoint, SliceOptions
from slicer_core.methods.plane import Plane
from slicer_core.methods.random_direction import Random2D
from slicer_core.slices import Slice, decode_slice, encode_slice

FLOAT64 = EvaluationSettings(dtype=torch.float64)


class Bowl(nn.Module):
    """½ θᵀ A θ, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(6))
        root = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
        self.register_buffer("curvature", root @ root.T)

    def forward(self, inputs: Tensor) -> Tensor:
        return 0.5 * (self.theta @ self.curvature @ self.theta) + 0 * inputs


def bowl() -> ModelWrapper:
    return ModelWrapper(Bowl(), lambda output, target: output, (torch.zeros(2), torch.zeros(2)))


def energy(wrapper: ModelWrapper, theta: Tensor) -> float:
    curvature = wrapper.model.get_buffer("curvature").double()
    return (0.5 * theta.double() @ curvature @ theta.double()).item()


def thetas(count: int) -> list[Tensor]:
    return list(torch.randn(count, 6, generator=torch.Generator().manual_seed(5)))


def path_of(found: Slice) -> dict[str, Any]:
    """As it is read from a log."""
    path = decode_slice(encode_slice(found)).trajectory
    assert path is not None
    return dict(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_quadratic_on_its_principal_plane(dtype: torch.dtype) -> None:
    wrapper = bowl()
    wrapper.model.to(dtype)
    points = [theta.to(dtype) for theta in thetas(5)]
    found = PCASlicer(wrapper, settings=FLOAT64, progress=False).slice(
        [{"theta": theta.clone()} for theta in points], grid_size=(3, 4), range=((-1.0, 2.0), (0.0, 1.0))
    )
    rows = np.stack([(theta.double() - points[-1].double()).numpy() for theta in points])
    _, singular, axes = np.linalg.svd(rows - rows.mean(axis=0))
    axes = axes[:2] * np.sign(axes[:2] @ rows[0])[:, None]
    for i, a in enumerate(found.axes[0].values):
        for j, b in enumerate(found.axes[1].values):
            theta = points[-1].double() + torch.from_numpy(a * axes[0] + b * axes[1])
            assert found.loss[i, j] == pytest.approx(energy(wrapper, theta), rel=1e-5)
    assert [d.norm for d in found.directions] == pytest.approx([1.0, 1.0], abs=1e-6)
    assert [d.explained_variance for d in found.directions] == pytest.approx(
        (singular[:2] ** 2 / (singular**2).sum()).tolist()
    )
    assert found.cosine == pytest.approx(0.0, abs=1e-6)
    path = path_of(found)
    assert path["steps"] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(path["coordinates"], rows @ axes.T, atol=1e-6)
    left = rows - rows @ axes.T @ axes
    np.testing.assert_allclose(path["residuals"], np.linalg.norm(left, axis=1), atol=1e-6)
    assert path["captured"] == pytest.approx(1 - (left**2).sum() / (rows**2).sum())
    assert path["losses"] == {"train": pytest.approx([energy(wrapper, theta) for theta in points])}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["pca", "plane"])
def test_points_of_any_precision_span_their_plane_and_stay_as_they_are(kind, dtype) -> None:
    wrapper = bowl()
    wrapper.model.to(dtype)
    points = [{"theta": theta.to(dtype)} for theta in thetas(4)]
    before = copy.deepcopy(points)
    if kind == "pca":
        found = PCASlicer(wrapper, settings=FLOAT64, progress=False).slice(points, grid_size=(3, 4))
        origin = points[-1]["theta"].double()
        away = torch.stack([point["theta"].double() - origin for point in before])
        _, _, rows = torch.linalg.svd(away - away.mean(dim=0), full_matrices=False)
        axes = [row if away[0] @ row >= 0 else -row for row in rows[:2]]
    else:
        found = PlaneSlicer(wrapper, settings=FLOAT64, progress=False).slice(*points[:3], grid_size=(3, 4))
        origin, second, third = (point["theta"].double() for point in before[:3])
        first_axis = F.normalize(second - origin, dim=0)
        axes = [first_axis, F.normalize(third - origin - (third - origin) @ first_axis * first_axis, dim=0)]
    expected = [
        [energy(wrapper, origin + a * axes[0] + b * axes[1]) for b in found.axes[1].values]
        for a in found.axes[0].values
    ]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-5)
    assert all(torch.equal(point["theta"], own["theta"]) for point, own in zip(points, before, strict=True))


def test_the_default_range_is_the_extent_of_the_path_and_a_fifth() -> None:
    found = PCASlicer(bowl(), settings=FLOAT64, progress=False).slice(
        {step: {"theta": theta} for step, theta in zip((0, 30, 10, 20), thetas(4), strict=True)}, grid_size=3
    )
    path = path_of(found)
    assert path["steps"] == [0, 10, 20, 30]
    for axis, along in zip(found.axes, np.array(path["coordinates"]).T, strict=True):
        extent = np.ptp(along)
        np.testing.assert_allclose(axis.values[[0, -1]], [along.min() - 0.1 * extent, along.max() + 0.1 * extent])
        assert along[-1] == pytest.approx(0.0, abs=1e-6)
        assert along[0] > 0


def test_a_path_in_a_plane_is_captured_whole() -> None:
    first, second, *_ = thetas(3)
    points = [a * first + b * second for a, b in ((0, 1), (1, 0), (0.5, 0.5), (2, -1), (0.25, 3))]
    found = PCASlicer(bowl(), settings=FLOAT64, progress=False).slice([{"theta": p} for p in points], grid_size=3)
    path = path_of(found)
    assert max(path["residuals"]) < 1e-5
    assert path["captured"] == pytest.approx(1.0, abs=1e-10)
    assert sum(d.explained_variance or 0.0 for d in found.directions) == pytest.approx(1.0, abs=1e-10)


def test_a_quadratic_on_the_plane_through_three_points() -> None:
    wrapper = bowl()
    a, b, c = thetas(3)
    found = PlaneSlicer(wrapper, settings=FLOAT64, progress=False).slice(
        {"theta": a}, {"theta": b}, {"theta": c}, grid_size=(4, 3)
    )
    first = (b - a).double()
    second = (c - a).double() - ((c - a).double() @ first) / (first @ first) * first
    first, second = first / first.norm(), second / second.norm()
    for i, x in enumerate(found.axes[0].values):
        for j, y in enumerate(found.axes[1].values):
            theta = a.double() + x * first + y * second
            assert found.loss[i, j] == pytest.approx(energy(wrapper, theta), rel=1e-5)
    assert [marker.name for marker in found.markers] == ["first", "second", "third"]
    for marker, corner in zip(found.markers, (a, b, c), strict=True):
        x, y = marker.coordinates
        torch.testing.assert_close(a.double() + x * first + y * second, corner.double(), rtol=0, atol=1e-6)
        assert marker.loss["train"] == pytest.approx(energy(wrapper, corner))
    places = np.array([marker.coordinates for marker in found.markers])
    assert places[0].tolist() == [0.0, 0.0]
    assert places[1][1] == 0.0
    assert places[2][1] > 0
    for axis, along in zip(found.axes, places.T, strict=True):
        extent = np.ptp(along)
        np.testing.assert_allclose(axis.values[[0, -1]], [along.min() - 0.2 * extent, along.max() + 0.2 * extent])


def test_corners_on_one_line_or_not_finite_are_refused() -> None:
    slicer = PlaneSlicer(bowl(), progress=False)
    a, b, _ = thetas(3)
    middle, broken = {"theta": a + 0.3 * (b - a)}, {"theta": b.clone().fill_(float("inf"))}
    for third in (middle, {"theta": a}, {"theta": b}):
        with pytest.raises(UsageError, match="the corners first, second and third lie on one line"):
            slicer.slice({"theta": a}, {"theta": b}, third)
    with pytest.raises(UsageError, match="lie on one line"):
        slicer.slice({"theta": a}, {"theta": a}, {"theta": b})
    with pytest.raises(UsageError, match="not finite"):
        slicer.slice({"theta": a}, {"theta": b}, broken)
    with pytest.raises(CheckpointError, match=r"third has 'theta' of shape \[3\]"):
        slicer.slice({"theta": a}, {"theta": b}, {"theta": torch.zeros(3)})


@pytest.mark.parametrize(
    ("through", "told"),
    [
        ("first,last", "is not of the form A,B,C"),
        ("first,,last", "is not of the form A,B,C"),
        ("first,last,first", "names a corner twice"),
    ],
)
def test_three_different_corners_are_to_be_named(through, told) -> None:
    with pytest.raises(UsageError, match=told):
        _ = Plane(through=through).center


def test_too_few_checkpoints_and_one_line_of_them_have_no_principal_plane() -> None:
    slicer = PCASlicer(bowl(), progress=False)
    points = [{"theta": theta} for theta in thetas(2)]
    for count in (0, 1, 2):
        with pytest.raises(UsageError, match=f"the path of {count} checkpoints? spans no plane: pca2d needs 3"):
            slicer.slice(points[:count])
    along = [{"theta": points[0]["theta"] * factor} for factor in (1, 2, 5, 3)]
    with pytest.raises(UsageError, match="4 checkpoints span one direction"):
        slicer.slice(along)
    with pytest.raises(UsageError, match="checkpoints of 2 have weights that are not finite"):
        slicer.slice([*points, {"theta": torch.full((6,), float("nan"))}, points[0]])


def test_statistics_are_estimated_anew_between_checkpoints_and_losses_of_the_path_are_their_own(network) -> None:
    net = network("convolution")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    points = [
        {name: tensor + 0.1 * seed * torch.rand_like(tensor) for name, tensor in wrapper.state().items() if tensor.ndim}
        for seed in range(4)
    ]
    found = PCASlicer(wrapper, progress=False).slice(points, grid_size=2)
    assert found.evaluation["batchnorm"] == "recompute"
    expected = []
    for point in points:
        model = copy.deepcopy(net.model).eval()
        model.load_state_dict(point, strict=False)
        with torch.no_grad():
            expected.append(F.cross_entropy(model(net.inputs), net.classes).item())
    assert path_of(found)["losses"]["train"] == pytest.approx(expected, rel=1e-5)


def test_weight_decay_is_in_the_losses_of_the_path() -> None:
    points = thetas(4)
    settings = EvaluationSettings(dtype=torch.float64, weight_decay=0.3)
    wrapper = bowl()
    found = PCASlicer(wrapper, settings=settings, progress=False).slice([{"theta": p} for p in points], grid_size=2)
    expected = [energy(wrapper, p) + 0.15 * p.double().square().sum().item() for p in points]
    assert path_of(found)["losses"]["train"] == pytest.approx(expected)


def test_a_path_that_is_not_there_is_not_shown(network) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    state = wrapper.state()
    center = CenterPoint(wrapper=wrapper, state=state, scale_state=state, other=lambda name: state)
    with pytest.raises(UsageError, match="--trajectory shows the checkpoints of a run, and there are none here"):
        Random2D(trajectory=True).plan(center, SliceOptions())
    assert Random2D().plan(center, SliceOptions()).trajectory is None
