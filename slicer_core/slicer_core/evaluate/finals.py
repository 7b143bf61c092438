"""Candidates that came out close, timed in turns: what the machine does at one moment then meets all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from slicer_core.evaluate.clock import clock
from slicer_core.evaluate.parallel import shared_out
from slicer_core.evaluate.strategies import Kernel
from slicer_core.subject import Batch

ROUNDS = 4
MOST_POINTS = 16
"""Of a turn."""

Entrant = tuple[Callable[[], Kernel], Batch]
"""What makes a kernel, and the batch that it runs."""


def close_totals(totals: Mapping[str, float], *, within: float) -> list[str]:
    """The names whose total is no more than `within` times the least, the least first; none where it is alone."""
    least = min(totals.values(), default=0.0)
    close = sorted((name for name, total in totals.items() if total <= within * least), key=totals.__getitem__)
    return close if len(close) > 1 else []


def timed_in_turns(entrants: Sequence[Entrant], *, workers: int, points: int) -> list[float]:
    """Seconds a point of each entrant's batch, where so many processes of one thread run it at the same time.

    A turn takes so many points, or a chunk of points that are run together.

    Raises:
        Exception: what a kernel raises.
    """

    def share() -> list[float]:
        kernels = [make() for make, _ in entrants]
        sizes = []
        for kernel, (_, batch) in zip(kernels, entrants, strict=True):
            kernel.terms(batch, slice(0, 1))
            sizes.append(min(kernel.trial_size(batch) if kernel.in_chunks else points, len(kernel.coefficients)))
        seconds = [0.0] * len(kernels)
        for _ in range(ROUNDS):
            for number, (kernel, (_, batch)) in enumerate(zip(kernels, entrants, strict=True)):
                device = kernel.objective.device
                start = clock(device)
                kernel.terms(batch, slice(0, sizes[number]))
                seconds[number] += (clock(device) - start) / sizes[number]
        return [spent / ROUNDS for spent in seconds]

    found, _ = shared_out([share] * workers)
    return [1 / sum(1 / seconds for seconds in of_one) for of_one in zip(*found, strict=True)]
