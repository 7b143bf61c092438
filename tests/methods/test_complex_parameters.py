"""Models with complex weights, as of Fourier layers: what moves them, and what norms and penalties make of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import EvaluationSettings, LinearInterpolationSlicer, ModelWrapper, PCASlicer, PlaneSlicer

Point = Mapping[str, Tensor]
INPUTS = torch.randn(11, 4, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(11) % 3


class Spectral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.spectrum = nn.Parameter(torch.randn(4, 5, dtype=torch.complex64))
        self.phase = nn.Parameter(torch.randn((), dtype=torch.complex64))
        self.head = nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head((inputs.to(self.spectrum.dtype) @ self.spectrum * self.phase).abs())


def wrapped() -> ModelWrapper:
    return ModelWrapper(Spectral(), nn.CrossEntropyLoss(), (INPUTS, CLASSES))


def points_of(wrapper: ModelWrapper, count: int) -> list[dict[str, Tensor]]:
    start = wrapper.get_parameters()
    return [{name: tensor + 0.4 * torch.randn_like(tensor) for name, tensor in start.items()} for _ in range(count)]


def as_real(point: Point) -> Tensor:
    """All numbers of the point in a row, float64; a complex one is two."""
    rows = [torch.view_as_real(tensor) if tensor.is_complex() else tensor for tensor in point.values()]
    return torch.cat([row.reshape(-1).double() for row in rows])


def loss_at(row: Tensor, like: Point) -> float:
    model = copy.deepcopy(Spectral()).double()
    model.spectrum.data, model.phase.data = model.spectrum.to(torch.complex128), model.phase.to(torch.complex128)
    own, first = dict(model.named_parameters()), 0
    with torch.no_grad():
        for name, tensor in like.items():
            count = tensor.numel() * (2 if tensor.is_complex() else 1)
            part, first = row[first : first + count], first + count
            shaped = torch.view_as_complex(part.reshape(*tensor.shape, 2)) if tensor.is_complex() else part
            own[name].copy_(shaped.reshape(tensor.shape))
        return F.cross_entropy(model(INPUTS.double()), CLASSES).item()


@pytest.mark.parametrize("strategy", ["loop", "vmap", "partial", "partial-vmap", "streaming"])
def test_a_line_moves_complex_parameters_too(strategy, close_to_float64) -> None:
    wrapper = wrapped()
    start, end = points_of(wrapper, 2)
    settings = EvaluationSettings(strategy=strategy, batch_size=4, weight_decay=0.1)
    found = LinearInterpolationSlicer(wrapper, settings=settings, progress=False).slice(start, end, n_samples=5)

    rows = [(1 - t) * as_real(start) + t * as_real(end) for t in found.axes[0].values]
    expected = [loss_at(row, start) + 0.05 * float(row @ row) for row in rows]
    close_to_float64(found.loss, np.array(expected))
    assert found.center is not None
    assert found.center.norm == pytest.approx(as_real(start).norm().item())
    assert found.directions[0].norm == pytest.approx((as_real(end) - as_real(start)).norm().item())


def test_planes_are_spanned_by_complex_parameters_too(close_to_float64) -> None:
    wrapper = wrapped()
    points = points_of(wrapper, 4)
    rows = torch.stack([as_real(point) for point in points])
    found = PlaneSlicer(wrapper, progress=False).slice(*points[:3], grid_size=(3, 2))
    axes, _ = torch.linalg.qr((rows[1:3] - rows[0]).T)
    signs = torch.sign(torch.stack([(rows[1 + axis] - rows[0]) @ axes[:, axis] for axis in (0, 1)]))
    expected = [
        [loss_at(rows[0] + axes @ (signs * torch.tensor([a, b])), points[0]) for b in found.axes[1].values]
        for a in found.axes[0].values
    ]
    close_to_float64(found.loss, np.array(expected))

    path = PCASlicer(wrapper, progress=False).slice(points, grid_size=(2, 2)).trajectory
    assert path is not None
    away = rows - rows[-1]
    _, _, components = torch.linalg.svd(away - away.mean(dim=0), full_matrices=False)
    left = away - away @ components[:2].T @ components[:2]
    np.testing.assert_allclose(path["residuals"], left.norm(dim=1), rtol=1e-5, atol=1e-6)
