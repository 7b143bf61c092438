"""How long a kernel takes for a point, and for what it does before its first."""

from __future__ import annotations

from slicer_core.evaluate.clock import clock
from slicer_core.evaluate.strategies import Kernel
from slicer_core.subject import Batch

SLOW_SECONDS = 5e-3
"""Of a point that takes longer, the first run tells enough."""


def timed(kernel: Kernel, part: Batch, limit: float, *, is_warm: bool = False) -> tuple[float, float]:
    """Seconds a point of the part on average over the limit, and of what the kernel does, or has done, once before.

    The average and not the best: what others take of the machine is part of what a point costs. `is_warm`: the first
    run is as those after it, so that it is enough where it takes longer than the limit. Else it is left out.
    """
    device, before = kernel.objective.device, kernel.seconds_before
    start = clock(device)
    kernel.terms(part, slice(0, 1))
    first = clock(device) - start
    if is_warm and first > max(limit, SLOW_SECONDS):
        return first, before or 0.0
    count = min(kernel.trial_size(part), len(kernel.coefficients))
    begun, points = clock(device), 0
    # Where one point takes long, many at once would take much longer than the limit.
    size = count if kernel.in_chunks else 1
    while True:
        kernel.terms(part, slice(0, size))
        points += size
        size = min(2 * size, count)
        taken = clock(device) - begun
        if taken >= limit:
            return taken / points, max(0.0, first - taken / points) if before is None else before
