"""Recurrent layers on CUDA where they are differentiated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import backends, nn


@contextlib.contextmanager
def differentiable_recurrence(model: nn.Module) -> Iterator[None]:
    """torch's own kernels for recurrent layers: cuDNN's have no backward in eval mode, and no second derivatives.

    `cudnn.flags` would set what it is not given to its defaults: TF32 on, deterministic algorithms off.
    """
    before = backends.cudnn.enabled
    try:
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            backends.cudnn.enabled = False
        yield
    finally:
        backends.cudnn.enabled = before
