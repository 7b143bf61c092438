"""How large the parts of a batch may well be, so that what runs on one stays in a cache."""

from __future__ import annotations

import sys

import torch

from slicer_core.evaluate.activations import bytes_a_sample
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.tiled import has_many_filters
from slicer_core.parameters import NamedTensors
from slicer_core.subject import Batch

# Parts of a batch keep the largest activation near these, on a CPU: about what a core has of cache of its own, and a
# share of the last level. A batch of less than twice as much stays whole: smaller parts cost more calls than they save
# misses.
_PART_BYTES = (5 * 2**18, 4 * 2**20)
# Convolutions by tiles transform the weights for each part, so that large ones pay where these are many.
_TILED_PART_BYTES = (5 * 2**18, 8 * 2**20)
_MIN_PART = 4
# So many times as large a part may be if that divides the batch evenly.
_MORE_A_PART = 1.7


def part_sizes(objective: Objective, state: NamedTensors, batch: Batch, *, tiled: bool = False) -> list[int]:
    """Numbers of samples a part of the batch may well have, from the largest activation of the model.

    `tiled`: where convolutions are run by tiles.
    """
    size = max(1, bytes_a_sample(objective, state, batch))
    limits = part_limits(objective.device)
    if tiled:
        limits = _TILED_PART_BYTES[::-1] if has_many_filters(objective.model) else _TILED_PART_BYTES
    fitting = (max(_MIN_PART, limit // size) for limit in limits)
    return list(
        dict.fromkeys(
            _divided(batch.num_samples, count) if 2 * count <= batch.num_samples else sys.maxsize for count in fitting
        )
    )


def _divided(num_samples: int, wanted: int) -> int:
    """About as many samples a part as are wanted, or exactly so many where no such number divides the batch.

    Parts of one size share a capture, which each other size needs again. Rather more than fewer: a part costs calls.
    """
    near = (*range(wanted, int(_MORE_A_PART * wanted) + 1), *range(wanted - 1, wanted // 2, -1))
    return next((size for size in near if num_samples % size == 0), wanted)


def part_limits(device: torch.device) -> tuple[int, ...]:
    """Bytes that the largest activation of a part may well have, the most promising first."""
    if device.type == "cpu":
        return _PART_BYTES
    # A GPU wants much work at once, and its caches are small beside its memory's rate: whole batches first.
    if device.type == "cuda":
        return sys.maxsize, torch.cuda.get_device_properties(device).L2_cache_size // 2
    return (sys.maxsize,)
