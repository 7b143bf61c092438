"""The transform of filters, GgGᵀ."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from slicer_core.evaluate.winograd.shape import PRODUCTS, TAPS

_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def write_filters(weight: Tensor, out: Tensor) -> None:
    """GgGᵀ of a weight of shape (outputs, channels, 3, 3), of shape (outputs, 36, channels), columns before rows."""
    taps = weight.permute(0, 2, 3, 1).reshape(weight.shape[0], TAPS * TAPS, weight.shape[1])
    torch.matmul(_matrix(weight.dtype), taps, out=out)


@functools.cache
def _matrix(dtype: torch.dtype) -> Tensor:
    one = torch.tensor(_G, dtype=torch.float64)
    return torch.einsum("lj,ki->lkij", one, one).reshape(PRODUCTS, TAPS * TAPS).to(dtype)
