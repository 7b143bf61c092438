"""`evaluate`: a split's loss and metrics at the points of a plan, by one of the strategies.

Batches are the outer loop, so that each is read and moved once for all points.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from slicer_core.choices import STRATEGY_NAMES, StrategyName
from slicer_core.errors import UsageError
from slicer_core.evaluate.batchnorm import recomputed_statistics
from slicer_core.evaluate.choice import StrategyChoice
from slicer_core.evaluate.objective import Objective, Terms
from slicer_core.evaluate.outputs import SumsOutput
from slicer_core.evaluate.sums import PointSums
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS, Batch, ModelWrapper, SplitData, cast_batch


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How points are evaluated.

    `dtype` None means the model's own. `strategy` "auto" means partial evaluation where it pays, else the loop.
    `repeats`: how many evaluations like this one the caller is about to make, for what pays only in the long run.
    `memory_budget`: bytes that it may take beyond what is held already, None for what is free.
    """

    batch_size: int | None = None
    dtype: torch.dtype | None = None
    strategy: StrategyName = "auto"
    repeats: int = 1
    memory_budget: int | None = None


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
    if settings.strategy not in STRATEGY_NAMES:
        raise UsageError(f"--strategy {settings.strategy!r} is not one of {', '.join(STRATEGY_NAMES)}")
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
        choice = StrategyChoice(settings.strategy, wrapper, objective, state, settings.dtype)
        for index, raw in enumerate(data.batches()):
            whole = cast_batch(raw, wrapper.device, settings.dtype)
            if index == 0:
                objective.examine(state, whole)
                choice.settle(whole, blocks, data.num_batches * settings.repeats)
            share = whole.num_samples / data.num_samples
            for part, batch in enumerate(choice.parts(whole)):
                output.begin_batch(batch, _center_terms(objective, state, batch, is_first=index == 0 and part == 0))
                first = 0
                for number, block in enumerate(blocks):
                    own_buffers = None if buffers is None else buffers[first : first + len(block.coefficients)]
                    # Each block may move other tensors, and each batch may have another size.
                    probe = index + part if index + part == 0 or number == (index + part) % len(blocks) else None
                    kernel = choice.kernel(block, batch, own_buffers, probe=probe)
                    for points in _chunks(len(block.coefficients), kernel.chunk_size(batch)):
                        output.add(kernel, batch, points, first + points.start)
                        if advance is not None:
                            advance((points.stop - points.start) * share * batch.num_samples / whole.num_samples)
                    first += len(block.coefficients)
    return Evaluation(
        sums=output.result(),
        strategy=choice.strategy,
        reason=choice.reason,
        num_batches=data.num_batches,
        num_samples=data.num_samples,
        seconds=time.perf_counter() - start,
    )


def _center_terms(objective: Objective, state: NamedTensors, batch: Batch, *, is_first: bool) -> Terms:
    terms = objective.at_center(state, batch)
    # What is one number for a batch may be a mean over samples in the first batch and not in another, where
    # sequences have other lengths.
    if not is_first and terms[LOSS].sums.numel() == 1:
        objective.check_halves(state, batch)
    return terms


def _chunks(count: int, size: int) -> Iterator[slice]:
    for low in range(0, count, size):
        yield slice(low, min(low + size, count))
