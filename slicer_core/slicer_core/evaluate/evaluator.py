"""`evaluate`: a split's loss and metrics at the points of a plan, by one of the strategies.

Batches are the outer loop, so that each is read and moved once for all points.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from slicer_core.choices import StrategyName
from slicer_core.errors import SlicerError, UsageError
from slicer_core.evaluate.batchnorm import recomputed_statistics
from slicer_core.evaluate.objective import Objective, Terms
from slicer_core.evaluate.outputs import SumsOutput
from slicer_core.evaluate.strategies import STRATEGIES, Kernel, LoopKernel
from slicer_core.evaluate.sums import PointSums
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS, Batch, ModelWrapper, SplitData, cast_batch

# A strategy's rounding against the loop's, at one point of each batch.
_RELATIVE = 1e-4
_ABSOLUTE = 1e-6


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How points are evaluated.

    `dtype` None means the model's own. `strategy` "auto" means the loop: vmap over parameters is slower than it for
    convolutions and attention on a CPU.
    """

    batch_size: int | None = None
    dtype: torch.dtype | None = None
    strategy: StrategyName = "auto"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The sums of one split by quantity, and how they were come by. `reason` says why a strategy was given up."""

    sums: dict[str, PointSums]
    strategy: str
    reason: str | None
    num_batches: int
    num_samples: int
    seconds: float


def evaluate(
    wrapper: ModelWrapper,
    data: SplitData,
    blocks: Sequence[PointBlock],
    center: NamedTensors,
    *,
    settings: EvaluationSettings,
    recompute: SplitData | None = None,
    advance: Callable[[float], None] | None = None,
) -> Evaluation:
    """The sums at the points of `blocks`, one after another, and at the center.

    Args:
        wrapper: what is evaluated; it is left as it was.
        data: the split.
        blocks: the points.
        center: every parameter and buffer at the center.
        settings: see there.
        recompute: the split on which BatchNorm's running statistics are estimated anew at each point.
        advance: called with a number of points (fractions, where there are several batches) as they are done.

    Raises:
        DataError: the loss is not what it has to be, see `ModelWrapper.check_batch`.
        UserCodeError: the model or the loss raised.
        UsageError: an unknown strategy.
    """
    start = time.perf_counter()
    name = "loop" if settings.strategy == "auto" else settings.strategy
    if name not in STRATEGIES:
        raise UsageError(f"--strategy {name!r} is not one of auto, {', '.join(STRATEGIES)}")
    reason = None
    objective = Objective(wrapper, settings.dtype)
    state = {key: objective.cast(tensor) for key, tensor in {**wrapper.state(), **center}.items()}
    num_points = sum(len(block.coefficients) for block in blocks)
    output = SumsOutput(num_points, wrapper.device, is_total=wrapper.form.is_total)
    with wrapper.evaluating():
        buffers = None
        if recompute is not None:

            def again(source: SplitData = recompute) -> Iterator[Batch]:
                return (cast_batch(batch, wrapper.device, settings.dtype) for batch in source.batches())

            objective.examine(state, next(again()))
            buffers = recomputed_statistics(objective, state, blocks, again)
            if name != "loop":
                name, reason = "loop", "BatchNorm statistics differ from point to point"
        for index, raw in enumerate(data.batches()):
            batch = cast_batch(raw, wrapper.device, settings.dtype)
            output.begin_batch(batch, _center_terms(objective, state, batch, is_first=index == 0))
            first = 0
            for number, block in enumerate(blocks):
                # Each block may move other tensors, and each batch may have another size.
                if name != "loop" and (index == 0 or number == 0):
                    trouble = _trial(STRATEGIES[name], objective, state, block, batch)
                    if trouble is not None:
                        name, reason = "loop", f"{name}: {trouble}"
                count = len(block.coefficients)
                own_buffers = None if buffers is None else buffers[first : first + count]
                kernel = STRATEGIES[name](objective, state, block, own_buffers)
                for points in _chunks(count, kernel.chunk_size(batch)):
                    output.add(kernel, batch, points, first + points.start)
                    if advance is not None:
                        advance((points.stop - points.start) / data.num_batches)
                first += count
    return Evaluation(
        sums=output.result(),
        strategy=name,
        reason=reason,
        num_batches=data.num_batches,
        num_samples=data.num_samples,
        seconds=time.perf_counter() - start,
    )


def _center_terms(objective: Objective, state: NamedTensors, batch: Batch, *, is_first: bool) -> Terms:
    if is_first:
        objective.examine(state, batch)
    terms = objective.at_center(state, batch)
    # What is one number for a batch may be a mean over samples in the first batch and not in another, where
    # sequences have other lengths.
    if not is_first and terms[LOSS].sums.numel() == 1:
        objective.check_halves(state, batch)
    return terms


def _chunks(count: int, size: int) -> Iterator[slice]:
    for low in range(0, count, size):
        yield slice(low, min(low + size, count))


def _trial(
    kind: type[Kernel], objective: Objective, state: NamedTensors, block: PointBlock, batch: Batch
) -> str | None:
    """Why the strategy can't be used for the batch: it raises, or its first points differ from the loop's."""
    points = slice(0, min(2, len(block.coefficients)))
    try:
        ours = kind(objective, state, block).terms(batch, points)
    except (SlicerError, RuntimeError, ValueError, TypeError, IndexError) as error:
        text = str(error.__cause__ or error).strip()
        return text.splitlines()[0][:200] if text else type(error).__name__
    loops = LoopKernel(objective, state, block).terms(batch, points)
    for name, (sums, _) in loops.items():
        for mine, expected in zip(ours[name][0].sum(dim=1).tolist(), sums.sum(dim=1).tolist(), strict=True):
            same = mine == expected or (mine != mine and expected != expected)
            if not same and not abs(mine - expected) <= _RELATIVE * abs(expected) + _ABSOLUTE:
                return f"its {name} at a point is {mine:.8g}, the loop's {expected:.8g}"
    return None
