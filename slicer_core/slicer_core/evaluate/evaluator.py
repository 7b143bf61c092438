"""`evaluate`: a split's loss and metrics at the points of a plan, by one of the strategies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from slicer_core.choices import STRATEGY_NAMES
from slicer_core.errors import ResourceError, UsageError
from slicer_core.evaluate.batchnorm import recomputed_statistics
from slicer_core.evaluate.choice import StrategyChoice
from slicer_core.evaluate.joining import with_larger_batches
from slicer_core.evaluate.layout import is_splittable, split_batch
from slicer_core.evaluate.memory import memory_budget_bytes
from slicer_core.evaluate.named import READS_ELSEWHERE, reads_elsewhere, refuse_kept
from slicer_core.evaluate.objective import Objective, Terms
from slicer_core.evaluate.parallel import can_fork
from slicer_core.evaluate.points import Advance, KnownBatches
from slicer_core.evaluate.precision import (
    COMPARED_POINTS,
    PrecisionReport,
    held_against_float32,
    is_center_lost,
)
from slicer_core.evaluate.settings import EvaluationSettings
from slicer_core.evaluate.shares import Shares
from slicer_core.evaluate.shortage import is_shortage, shortage_message
from slicer_core.evaluate.strategies.streaming import STREAMING, float32_fits, stream, streams
from slicer_core.evaluate.sums import PointSums
from slicer_core.evaluate.traces import forget_if_changed
from slicer_core.evaluate.trials import typical_block
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch, ModelWrapper, SplitData, cast_batch


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The sums of one split by quantity, and how they were come by.

    `reason` says why a strategy was given up; `timings` are the seconds a point of one batch that candidates took in
    trials.
    `precision` is there where the dtype was a reduced one.
    """

    sums: dict[str, PointSums]
    strategy: str
    reason: str | None
    num_batches: int
    num_samples: int
    seconds: float
    workers: int = 1
    timings: Mapping[str, float] = field(default_factory=dict)
    precision: PrecisionReport | None = None


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
        DataError: the loss is not what it has to be, see `LossCheck.batch`.
        ResourceError: one point on one sample does not fit the memory.
        UserCodeError: the model or the loss raised.
        UsageError: an unknown strategy.
    """
    evaluator = PointEvaluator(wrapper, data, blocks, center, settings=settings, recompute=recompute)
    return evaluator.evaluate(blocks, advance)


class PointEvaluator:
    """One center on one split, whose points may be asked for bit by bit: what was settled for the first stays.

    Arguments are those of `evaluate`; `blocks` are all points that will ever be asked for.
    """

    def __init__(
        self,
        wrapper: ModelWrapper,
        data: SplitData,
        blocks: Sequence[PointBlock],
        center: NamedTensors,
        *,
        settings: EvaluationSettings,
        recompute: SplitData | None = None,
    ) -> None:
        if settings.strategy not in STRATEGY_NAMES:
            raise UsageError(f"--strategy {settings.strategy!r} is not one of {', '.join(STRATEGY_NAMES)}")
        self._wrapper, self._data, self._blocks, self._center = wrapper, data, blocks, center
        self._settings, self._recompute = settings, recompute
        self._objective = Objective(wrapper, settings.dtype)
        self._streams = streams(wrapper, settings.strategy, settings.memory_budget)
        is_auto = settings.strategy == "auto"
        self._streams_why = "three copies of the parameters do not fit the memory" if is_auto else None
        self._state: NamedTensors = {}
        self._choice: StrategyChoice | None = None
        self._shares: Shares | None = None
        self._to_compare = COMPARED_POINTS

    def settle(self, *, is_all: bool = False) -> None:
        """Chooses how points are run, and decides all that timing decides; done by the first `evaluate` otherwise.

        `is_all`: all points are asked for next, so that what one process runs alone it may decide as it goes.
        """
        wrapper, center = self._wrapper, self._center
        if self._streams or self._choice is not None:
            if self._streams and not streams(wrapper, "auto", self._settings.memory_budget):
                refuse_kept(wrapper, self._data)
            return
        self._state = {
            key: self._objective.cast_for_combining(tensor) for key, tensor in {**wrapper.state(), **center}.items()
        }
        forget_if_changed(wrapper)
        with wrapper.evaluating():
            first = next(iter(self._cast(self._data)))
            if reads_elsewhere(wrapper, self._data):
                self._streams, self._streams_why = True, READS_ELSEWHERE
                return
            if self._recompute is not None and self._blocks:
                self._objective.examine(self._state, next(iter(self._cast(self._recompute))))
            settled = _settled(
                wrapper,
                self._data,
                self._blocks,
                self._objective,
                self._state,
                self._settings,
                first,
                has_buffers=self._recompute is not None,
            )
            self._choice, self._trial_samples = settled.choice, settled.batch.num_samples
            if not (is_all and self._choice.may_decide_later):
                self._choice.decide_all(settled.batch, self._blocks)
        self._shares = Shares(
            self._objective, self._state, settled.data, is_total=wrapper.form.is_total, known=settled.known
        )

    def seconds_a_point(self) -> float | None:
        """What the trials say of the strategy that was settled on; None where there were none."""
        seconds = None if self._choice is None else self._choice.seconds
        return None if seconds is None else seconds * self._data.num_samples / self._trial_samples

    def evaluate(self, blocks: Sequence[PointBlock], advance: Advance | None = None) -> Evaluation:
        """The sums at the points of `blocks`, some of those that were announced; see `evaluate`."""
        start = time.perf_counter()
        self.settle(is_all=blocks is self._blocks)
        if self._streams:
            return self._stream(blocks, advance, start)
        assert self._choice is not None
        assert self._shares is not None
        choice, data, wrapper = self._choice, self._data, self._wrapper
        choice.begin_again()
        with wrapper.evaluating():
            buffers = None
            if self._recompute is not None:
                recompute = self._recompute
                buffers = recomputed_statistics(self._objective, self._state, blocks, lambda: self._cast(recompute))
            num_workers = min(choice.workers, sum(len(block.coefficients) for block in blocks))
            if num_workers > 1:
                whole = self._shares.in_processes(blocks, choice, num_workers, advance)
            else:
                whole = self._shares.here(blocks, choice, advance, buffers)
        sums, precision = self._held_against_float32(whole.sums, blocks)
        reasons = dict.fromkeys([*choice.reasons, *whole.reasons])
        return Evaluation(
            sums=sums,
            strategy="+".join(sorted(whole.used, key=lambda name: -whole.used[name])) or "loop",
            reason="; ".join(reasons) or None,
            num_batches=data.num_batches,
            num_samples=data.num_samples,
            seconds=time.perf_counter() - start,
            workers=max(num_workers, 1),
            timings=choice.timings,
            precision=precision,
        )

    def _stream(self, blocks: Sequence[PointBlock], advance: Advance | None, start: float) -> Evaluation:
        settings, data = self._settings, self._data
        streamed = stream(
            self._wrapper,
            self._objective,
            data,
            blocks,
            self._center,
            dtype=settings.dtype,
            recompute=self._recompute,
            advance=advance,
        )
        sums, precision, reasons = streamed.result(), None, [self._streams_why]
        if self._objective.is_reduced and not float32_fits(self._wrapper, settings.memory_budget):
            reasons.append("float32 was not compared, since the parameters in it do not fit the memory")
        else:
            sums, precision = self._held_against_float32(sums, blocks)
        return Evaluation(
            sums=sums,
            strategy=STREAMING,
            reason="; ".join(filter(None, reasons)) or None,
            num_batches=data.num_batches,
            num_samples=data.num_samples,
            seconds=time.perf_counter() - start,
            precision=precision,
        )

    def _held_against_float32(
        self, sums: dict[str, PointSums], blocks: Sequence[PointBlock]
    ) -> tuple[dict[str, PointSums], PrecisionReport | None]:
        """What the evaluation's precision could not hold in float32, and how far it is off where points are there."""
        if not self._objective.is_reduced:
            return sums, None
        if not blocks:
            return self._again(()) if is_center_lost(sums) else sums, None
        sums, precision = held_against_float32(sums, blocks, self._again, compared=self._to_compare)
        self._to_compare -= precision.points
        return sums, precision

    def _again(self, some: Sequence[PointBlock]) -> dict[str, PointSums]:
        exact = replace(self._settings, dtype=torch.float32)
        again = evaluate(self._wrapper, self._data, some, self._center, settings=exact, recompute=self._recompute)
        return again.sums

    def _cast(self, source: SplitData) -> Iterator[Batch]:
        return (cast_batch(batch, self._wrapper.device, self._settings.dtype) for batch in source.batches())


@dataclass(frozen=True, kw_only=True)
class ChosenStrategy:
    """What an evaluation would take, by its label; the seconds a point of one batch, of it and of each candidate."""

    label: str
    seconds: float | None
    timings: Mapping[str, float]


def choose_strategy(
    wrapper: ModelWrapper,
    data: SplitData,
    blocks: Sequence[PointBlock],
    center: NamedTensors,
    *,
    settings: EvaluationSettings,
) -> ChosenStrategy:
    """The trials that `evaluate` would make, without the evaluation; no timings where it makes none.

    Raises:
        SlicerError: as `evaluate`.
    """
    objective = Objective(wrapper, settings.dtype)
    state = {key: objective.cast_for_combining(tensor) for key, tensor in {**wrapper.state(), **center}.items()}
    forget_if_changed(wrapper)
    with wrapper.evaluating():
        if reads_elsewhere(wrapper, data):
            return ChosenStrategy(label=STREAMING, seconds=None, timings={})
        first = cast_batch(next(iter(data.batches())), wrapper.device, settings.dtype)
        settled = _settled(wrapper, data, blocks, objective, state, settings, first, has_buffers=False)
    choice, scale = settled.choice, first.num_samples / settled.batch.num_samples
    return ChosenStrategy(
        label=choice.label,
        seconds=None if choice.seconds is None else choice.seconds * scale,
        timings={label: seconds * scale for label, seconds in choice.timings.items()},
    )


@dataclass(frozen=True, kw_only=True)
class _Settled:
    """A choice with the batch it was made on, the data as it is run, and what the passes till then have shown of it."""

    choice: StrategyChoice
    batch: Batch
    data: SplitData
    known: KnownBatches


def _settled(
    wrapper: ModelWrapper,
    data: SplitData,
    blocks: Sequence[PointBlock],
    objective: Objective,
    state: NamedTensors,
    settings: EvaluationSettings,
    first: Batch,
    *,
    has_buffers: bool,
) -> _Settled:
    """The choice, made on as much of the first batch as fits the memory.

    Small batches are put together, but in the loop that is asked for: it runs what the user's would.
    """
    fitting, terms = _examined(objective, state, first)
    if fitting is first and blocks and settings.strategy != "loop":
        larger = with_larger_batches(wrapper, data, objective, state, typical_block(blocks), first, terms)
        if larger is not None:
            joined = cast_batch(next(iter(larger.data.batches())), wrapper.device, settings.dtype)
            # It also shows what the model writes to in the batches after the first.
            found = larger.terms or _if_it_fits(lambda: objective.at_center(state, joined))
            if found is not None:
                data, fitting, terms = larger.data, joined, found
    may_fork = data.in_memory and not has_buffers and wrapper.device.type == "cpu" and can_fork()
    choice = StrategyChoice(
        "loop" if has_buffers and settings.strategy == "auto" else settings.strategy,
        wrapper,
        objective,
        state,
        settings.dtype,
        workers=settings.workers if may_fork else 1,
        compiling=settings.compile,
        memory_budget=memory_budget_bytes(settings.memory_budget, wrapper.device),
    )
    choice.limit_parts(fitting.num_samples)
    choice.settle(fitting, blocks, batches=data.num_samples / fitting.num_samples, slices=settings.repeats)
    known = KnownBatches()
    known.add({(0, 0, fitting.num_samples): terms})
    return _Settled(choice=choice, batch=fitting, data=data, known=known)


def _examined(objective: Objective, state: NamedTensors, first: Batch) -> tuple[Batch, Terms]:
    """The first batch, or as large a part of it as the model can be run on in the memory that there is, and its terms.

    See `Objective.examine`.

    Raises:
        ResourceError: that is less than a sample, or the batch can't be cut.
    """
    size, batch = first.num_samples, first
    while (terms := _if_it_fits(lambda batch=batch: objective.examine(state, batch))) is None:
        size //= 2
        if size < 1 or not is_splittable(objective, first):
            raise ResourceError(shortage_message(batch.num_samples))
        batch = split_batch(first, size)[0]
    return batch, terms


def _if_it_fits(run: Callable[[], Terms]) -> Terms | None:
    try:
        return run()
    except Exception as error:
        if not is_shortage(error):
            raise
    return None
