"""float32 that is float32: what torch may round inside of matrix products and convolutions, for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import torch
from torch import backends

TF32_EPS = 2.0**-10
"""The distance from 1 to the next number of TF32, which has 10 bits of mantissa."""

TF32_RELATIVE = 3 * TF32_EPS
"""How far two ways to compute one loss in TF32 may be apart."""

# By default torch lets cuDNN's convolutions round their inputs to TF32, and a module may have asked for the
# same, or for bfloat16, in matrix products (`torch.set_float32_matmul_precision`):
# https://docs.pytorch.org/docs/stable/notes/cuda.html#tensorfloat-32-tf32-on-ampere-and-later-devices
# torch makes some of them as it is imported, where no type checker sees them.
_PLACES: tuple[Any, ...] = attrgetter(
    "cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn"
)(backends)


@contextlib.contextmanager
def float32_precision(*, tf32: bool) -> Iterator[None]:
    """Products of float32 in float32, or with `tf32` in TF32 where the device has it; then as they were before."""
    before = [place.fp32_precision for place in _PLACES]
    legacy = _legacy()
    try:
        # The older switches too, or torch raises where something asks them and they say another thing.
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        backends.cudnn.allow_tf32 = tf32
        for place in _PLACES:
            place.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        matmul, convolutions = legacy
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if convolutions is not None:
            backends.cudnn.allow_tf32 = convolutions
        for place, precision in zip(_PLACES, before, strict=True):
            place.fp32_precision = precision


def _legacy() -> tuple[str | None, bool | None]:
    """What the older switches say; None where they do not say what the newer ones do, and torch raises."""
    matmul = convolutions = None
    with contextlib.suppress(RuntimeError):
        matmul = torch.get_float32_matmul_precision()
    with contextlib.suppress(RuntimeError):
        convolutions = backends.cudnn.allow_tf32
    return matmul, convolutions
