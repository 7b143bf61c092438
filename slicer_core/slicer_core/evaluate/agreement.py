"""A strategy's terms at a point held against the loop's, which runs the user's own forward."""

from __future__ import annotations

import torch
from torch import Tensor

from slicer_core.evaluate.layout import first_samples, is_splittable
from slicer_core.evaluate.strategies import CannotEvaluateError, Kernel, LoopKernel
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS, TF32_RELATIVE, Batch

# The rounding of a strategy against the loop's, by the precision of the sums of a batch or of the evaluation.
_RELATIVE = {torch.float64: 1e-9, torch.bfloat16: 3e-2, torch.float16: 3e-3}
_DEFAULT_RELATIVE = 1e-4
_ABSOLUTE = 1e-6
# What rounding usually is, sample by sample.
_CLOSE = {torch.float64: 1e-10}
_DEFAULT_CLOSE = 1e-5
# Of a batch that is not probed so large a share is held against the loop for each set of moved tensors, and no less
# than so many samples.
_HELD_SHARE = 8
_HELD_SAMPLES = 8


def hold_against_loop(
    kernel: Kernel,
    block: PointBlock,
    batch: Batch,
    state: NamedTensors,
    *,
    probe: int | None,
    closely: bool = False,
) -> None:
    """Compares the terms at a point off the center, which `probe` seeds.

    Of a batch that is not probed, which another block is or was held against, the first samples are enough to see
    that what this block moves moves. `closely`: each sample's terms have to be the loop's but for usual rounding, where
    otherwise their sum has to be within what rounding may ever be.

    Raises:
        CannotEvaluateError: they differ.
    """
    objective, point = kernel.objective, _point_off_center(block, probe or 0)
    held = batch
    if probe is None and is_splittable(objective, batch):
        held = first_samples(batch, max(_HELD_SAMPLES, batch.num_samples // _HELD_SHARE))
    # The loop first, so that its copy of the weights is gone when the kernel makes its own.
    loops = LoopKernel(objective, state, block).terms(held, slice(point, point + 1))
    ours = kernel.terms(batch, slice(point, point + 1))
    for name, (sums, counts) in loops.items():
        mine, my_counts = ours[name]
        if held is not batch:
            # Entries lie sample after sample where a batch can be cut.
            mine, my_counts = mine[:, : sums.shape[1]], my_counts[:, : sums.shape[1]]
        if not torch.equal(counts, my_counts.expand(counts.shape)):
            raise CannotEvaluateError(f"its counts of {name} differ from the loop's")
        if closely and not objective.is_reduced and not _are_close(mine, sums):
            raise CannotEvaluateError(f"its {name} of a sample differs from the loop's")
        left, right = mine.double().sum().item(), sums.double().sum().item()
        same = left == right or (left != left and right != right)
        relative = _RELATIVE.get(objective.dtype or sums.dtype, _RELATIVE.get(sums.dtype, _DEFAULT_RELATIVE))
        if objective.has_tf32:
            relative = max(relative, TF32_RELATIVE)
        # A metric may jump where rounding decides between equals, one sample at a time.
        steps = 0.0 if name == LOSS else max(2.0, relative * held.num_samples if objective.is_reduced else 0)
        if not same and not abs(left - right) <= relative * abs(right) + _ABSOLUTE + steps:
            raise CannotEvaluateError(f"its {name} of a batch at a point is {left:.8g}, the loop's {right:.8g}")


def _are_close(mine: Tensor, sums: Tensor) -> bool:
    """Against the largest of all, since a small loss of one sample may be what is left of large numbers."""
    finite = sums.isfinite()
    if not torch.equal(finite, mine.isfinite()):
        return False
    relative, mine, sums = _CLOSE.get(sums.dtype, _DEFAULT_CLOSE), mine[finite].double(), sums[finite].double()
    return not sums.numel() or (mine - sums).abs().max().item() <= relative * sums.abs().max().item() + _ABSOLUTE


def _point_off_center(block: PointBlock, seed: int) -> int:
    """A point of the block by a seed, the next one off the center from there."""
    generator = torch.Generator().manual_seed(seed)
    count = len(block.coefficients)
    first = int(torch.randint(count, (1,), generator=generator))
    return next((point for point in (*range(first, count), *range(first)) if block.coefficients[point].any()), first)
