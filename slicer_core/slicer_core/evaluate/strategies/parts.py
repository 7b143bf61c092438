"""A batch that does not fit the memory, evaluated in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from slicer_core.evaluate.shortage import MemoryShortageError, is_shortage
from slicer_core.evaluate.strategies.kernel import ChunkTerms, Kernel
from slicer_core.subject import Batch


def terms_if_they_fit(kernel: Kernel, batch: Batch, points: slice) -> ChunkTerms | None:
    """The kernel's terms, or None where memory did not suffice.

    What the failed call had allocated is let go when the error is, so nothing is tried again in an `except` block.

    Raises:
        MemoryShortageError: what is kept between points does not fit, which fewer points at a time don't change.
    """
    try:
        return kernel.terms(batch, points)
    except Exception as error:
        if isinstance(error, MemoryShortageError) or not is_shortage(error):
            raise
    return None


class PartsKernel(Kernel):
    """A kernel for a whole batch that runs one part of it after another, and holds what one part needs at a time.

    `make` gives the kernel for a part; it is made anew for each chunk of points.
    """

    def __init__(self, make: Callable[[Batch], Kernel], parts: Sequence[Batch]) -> None:
        self._make = make
        self._parts = parts
        self._size: int | None = None

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`; the parts' entries one after another."""
        found = [self._make(part).terms(part, points) for part in self._parts]
        return {
            name: (
                torch.cat([terms[name][0] for terms in found], dim=1),
                torch.cat([terms[name][1] for terms in found], dim=1),
            )
            for name in found[0]
        }

    def chunk_size(self, batch: Batch) -> int:
        """That of the largest part."""
        if self._size is None:
            part = max(self._parts, key=lambda part: part.num_samples)
            self._size = self._make(part).chunk_size(part)
        return self._size
