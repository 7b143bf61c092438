"""Principal axes and projections of points that are read in blocks, against plain linear algebra on whole matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from slicer_core.checkpoints import open_safetensors, write_safetensors
from slicer_core.directions import PathPoint, combined, gram_matrix, open_points, path, principal_axes, project
from slicer_core.errors import UsageError
from slicer_core.parameters import LazyTensors

NAMES = ["a", "b", "c"]


def point(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((5, 4, 3), (7,), ())
    return {name: torch.randn(shape, generator=generator) for name, shape in zip(NAMES, shapes, strict=True)}


def flat(vector) -> np.ndarray:
    return np.concatenate(
        [vector[name].double().reshape(-1).numpy() if name in vector else np.zeros(0) for name in NAMES]
    )


@pytest.fixture(params=[None, 8 * 6, 8 * 60], ids=["whole", "an entry at a time", "parts of rows"])
def block_bytes(request, monkeypatch) -> None:
    """Blocks so small that rows are cut, with the same result."""
    if request.param is not None:
        monkeypatch.setattr(path, "_BLOCK_BYTES", request.param)


def test_principal_axes_are_those_of_numpys_svd(block_bytes) -> None:
    points = [point(seed) for seed in range(6)]
    origin = points[-1]
    found = principal_axes(gram_matrix(points, origin, NAMES), 3)
    rows = np.stack([flat(p) - flat(origin) for p in points])
    _, singular, axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    for index in range(3):
        axis = flat(combined(points, origin, NAMES, found.weights[index].tolist()))
        sign = np.sign(rows[0] @ axes[index])
        np.testing.assert_allclose(axis, sign * axes[index], atol=1e-6)
        np.testing.assert_allclose(found.coordinates[:, index], sign * rows @ axes[index], atol=1e-10)
        assert found.coordinates[0, index] > 0
    np.testing.assert_allclose(found.explained, singular[:3] ** 2 / (singular**2).sum(), rtol=1e-10)


def test_points_of_any_precision_are_left_as_they_are() -> None:
    for dtype in (torch.float16, torch.float32, torch.float64):
        points = [{name: tensor.to(dtype) for name, tensor in point(seed).items()} for seed in range(4)]
        before = [flat(p) for p in points]
        found = principal_axes(gram_matrix(points, points[-1], NAMES), 2)
        axes = [combined(points, points[-1], NAMES, weights) for weights in found.weights.tolist()]
        project(points, points[-1], axes, NAMES)
        np.testing.assert_array_equal([flat(p) for p in points], before)


def test_a_projection_is_the_least_squares_solution(block_bytes) -> None:
    """On two directions that are neither orthogonal nor of norm one, one of them in a single tensor."""
    points, origin = [point(seed) for seed in range(4)], point(9)
    axes = [{name: 3 * tensor for name, tensor in point(7).items()}, {"a": point(7)["a"] + 0.3 * point(8)["a"]}]
    found = project(points, origin, axes, NAMES)
    whole = [np.concatenate([flat({"a": axis["a"]}), flat(axis)[60:] if "b" in axis else np.zeros(8)]) for axis in axes]
    design = np.stack(whole, axis=1)
    rows = np.stack([flat(p) - flat(origin) for p in points])
    expected = np.linalg.lstsq(design, rows.T, rcond=None)[0].T
    left = rows - expected @ design.T
    np.testing.assert_allclose(found.coordinates, expected, rtol=1e-9)
    np.testing.assert_allclose(found.residuals, np.linalg.norm(left, axis=1), rtol=1e-9)
    assert found.captured == pytest.approx(1 - (left**2).sum() / (rows**2).sum())


def test_points_in_the_plane_have_no_residual() -> None:
    """To the last digit that their own rounding leaves, not to its square root."""
    origin, first, second = point(0), point(1), point(2)
    exact = {name: tensor.double() for name, tensor in origin.items()}
    places = [(0.0, 0.0), (1.5, -2.0), (-40.0, 0.25)]
    points = [
        {name: exact[name] + a * first[name].double() + b * second[name].double() for name in NAMES} for a, b in places
    ]
    found = project(points, exact, [first, second], NAMES)
    np.testing.assert_allclose(found.coordinates, places, atol=1e-12)
    assert found.residuals.max() < 1e-13 * 400
    assert found.captured == pytest.approx(1.0, abs=1e-15)


def test_a_point_that_is_not_finite_spoils_no_other() -> None:
    points, origin = [point(0), point(1), point(2)], point(3)
    points[1]["a"][0, 0, 0] = float("nan")
    found = project(points, origin, [point(4), point(5)], NAMES)
    assert np.isnan(found.coordinates[1]).all()
    assert np.isnan(found.residuals[1])
    alone = project([points[0], points[2]], origin, [point(4), point(5)], NAMES)
    np.testing.assert_allclose(found.coordinates[[0, 2]], alone.coordinates)


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ([0.0, 1.0], "the 2 checkpoints span one direction"),
        ([0.0, 1.0, -2.0, 0.5], "the 4 checkpoints span one direction: 2 principal components need 3"),
        ([1.0, 1.0, 1.0], "the 3 checkpoints span no direction"),
    ],
)
def test_points_on_one_line_span_no_plane(places, told) -> None:
    origin, along = point(0), point(1)
    points = [{name: origin[name] + place * along[name] for name in NAMES} for place in places]
    with pytest.raises(UsageError, match=told):
        principal_axes(gram_matrix(points, points[-1], NAMES), 2)


def test_axes_are_lazy_where_the_origin_is_and_the_same(tmp_path: Path) -> None:
    points = [point(seed) for seed in range(4)]
    opened = []
    for index, tensors in enumerate(points):
        write_safetensors(tmp_path / f"{index}.safetensors", tensors)
        opened.append(open_safetensors(tmp_path / f"{index}.safetensors"))
    weights = [0.5, -1.0, 2.0, 0.0]
    lazy = combined(opened, opened[-1], NAMES, weights)
    assert isinstance(lazy, LazyTensors)
    np.testing.assert_array_equal(flat(dict(lazy)), flat(combined(points, points[-1], NAMES, weights)))
    np.testing.assert_array_equal(gram_matrix(opened, opened[-1], NAMES), gram_matrix(points, points[-1], NAMES))


def test_points_that_come_whole_are_put_aside_when_they_are_many(monkeypatch) -> None:
    """As those of torch files do."""
    monkeypatch.setattr(path, "_WHOLE_BYTES", 600)
    points = [PathPoint(step=step, open=lambda step=step: point(step)) for step in range(4)]
    opened = open_points(points)
    assert [isinstance(tensors, LazyTensors) for tensors in opened] == [False, False, True, True]
    for step, tensors in enumerate(opened):
        np.testing.assert_array_equal(flat(dict(tensors)), flat(point(step)))
