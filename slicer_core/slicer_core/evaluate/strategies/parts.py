"""A batch that does not fit the memory, evaluated in parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from slicer_core.evaluate.shortage import is_shortage
from slicer_core.evaluate.strategies.kernel import ChunkTerms, Kernel
from slicer_core.subject import Batch


def terms_if_they_fit(kernel: Kernel, batch: Batch, points: slice) -> ChunkTerms | None:
    """The kernel's terms, or None where memory did not suffice.

    What the failed call had allocated is let go when the error is, so nothing is tried again in an `except` block.
    """
    try:
        return kernel.terms(batch, points)
    except Exception as error:
        if not is_shortage(error):
            raise
    return None


class PartsKernel(Kernel):
    """Kernels for the parts of a batch as one for the whole of it."""

    def __init__(self, kernels: Sequence[Kernel], parts: Sequence[Batch]) -> None:
        self._kernels = kernels
        self._parts = parts
        self.coefficients = kernels[0].coefficients

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`; the parts' entries one after another."""
        found = [kernel.terms(part, points) for kernel, part in zip(self._kernels, self._parts, strict=True)]
        return {
            name: (
                torch.cat([terms[name][0] for terms in found], dim=1),
                torch.cat([terms[name][1] for terms in found], dim=1),
            )
            for name in found[0]
        }

    def chunk_size(self, batch: Batch) -> int:
        """The smallest of the parts'."""
        return min(kernel.chunk_size(part) for kernel, part in zip(self._kernels, self._parts, strict=True))
