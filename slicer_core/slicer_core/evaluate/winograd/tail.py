"""What often follows a convolution: a sum with a shortcut, and a ReLU."""

from __future__ import annotations

from torch import Tensor


def with_tail(outputs: Tensor, added: Tensor | None, *, relu: bool) -> Tensor:
    """The outputs plus what is to be added, if not below zero where `relu`, in their place."""
    if added is not None:
        outputs += added
    return outputs.relu_() if relu else outputs
