"""Whether numbers are finite, without a tensor of truth values beside them."""

from __future__ import annotations

from torch import Tensor


def is_finite(tensor: Tensor) -> bool:
    """Whether every entry is: a sum that is finite has no other, and one that is not may have overflown."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())
