"""Runs the user's loop and the engine in turns, and keeps every time that was taken."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from baseline import user_losses, user_losses_reduced
from elsewhere import LoopElsewhere
from machine import Machine
from rows import Row
from slicer_core import EvaluationSettings, ModelWrapper
from slicer_core.choices import StrategyName
from slicer_core.evaluate import Evaluation, choose_strategy, evaluate
from slicer_core.evaluate.parallel import await_ended
from slicer_core.plan import PointBlock
from subjects import Subject

# A user's loop that is longer than this is timed on a part of its points, but never on fewer than these.
_USER_SECONDS = 10.0
_LEAST_POINTS = 60
# How often a job is to be repeated, so that the engine chooses as in a long one.
_MANY = 1000
# Among the strategies whose times are told.
CHOOSING = "choosing"
# More than this between two loops is no rounding.
_LOOPS_DIFFER = 1e-4

# How the process of the user's loop frees memory: as glibc does, or as the command has it.
AllocatorName = Literal["default", "tuned"]
# Chosen points -> seconds and losses.
Loop = Callable[[np.ndarray], tuple[float, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is run: `quick` for few points, `full` for the user's loop on all points, however long it is.

    `repeats` is at least 1.
    """

    repeats: int = 3
    quick: bool = False
    full: bool = False


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One row as it was measured; a list has an entry for each repetition, in seconds.

    `user` has the loop's, by the allocator of its process, scaled from `timed_points` to `points`. `first` is the
    engine's first run of the row in this process, which is not among the others where all of the user's points are
    timed.
    `error` is the largest relative difference to the user's float32 loop; in another type, where the loss is below
    ten times the center's. `floor` is the time of the dense arithmetic at the measured rate of matrix products.
    """

    name: str
    dtype: str
    points: int
    timed_points: int
    user: dict[AllocatorName, list[float]]
    engine: list[float]
    first: float
    floor: float
    error: float
    largest_error: float
    strategy: str
    reason: str | None
    targets: dict[AllocatorName, float]
    seconds_to_reach: float | None
    timings: dict[str, float] = field(default_factory=dict)
    user_reduced: float | None = None
    user_reduced_error: float | None = None
    bytes_moved: float | None = None

    @property
    def ratios(self) -> dict[AllocatorName, list[float]]:
        """How many times the engine's speed is the loop's, in each repetition."""
        return {
            allocator: [user / engine for user, engine in zip(seconds, self.engine, strict=True)]
            for allocator, seconds in self.user.items()
        }

    @property
    def ratio(self) -> dict[AllocatorName, float]:
        """The medians."""
        return {allocator: statistics.median(ratios) for allocator, ratios in self.ratios.items()}

    def misses(self, allocator: AllocatorName) -> bool:
        """Whether the row falls short beside this loop, or whatever it is held against."""
        return self._is_below(allocator) or bool(self._otherwise)

    @property
    def loses(self) -> list[str]:
        """What the row falls short of, in words."""
        below = [
            f"{self.ratio[allocator]:.2f} of the ratio {self.targets[allocator]:g}, {allocator} allocator"
            for allocator in self.user
            if self._is_below(allocator)
        ]
        return below + self._otherwise

    def _is_below(self, allocator: AllocatorName) -> bool:
        return self.ratio[allocator] < self.targets.get(allocator, -math.inf)

    @property
    def _otherwise(self) -> list[str]:
        short = []
        if not self.error <= self.largest_error:
            short.append(f"relative difference {self.error:.1e}, not {self.largest_error:.0e}")
        if self.seconds_to_reach is not None and statistics.median(self.engine) > self.seconds_to_reach:
            short.append(f"{statistics.median(self.engine):.3g} s, not {self.seconds_to_reach:g} s")
        return short


def run_engine(
    wrapper: ModelWrapper,
    subject: Subject,
    blocks: Sequence[PointBlock],
    *,
    strategy: StrategyName = "auto",
    dtype: torch.dtype | None = None,
    repeats: int = 1,
) -> Evaluation:
    """The engine on these points; the survey of the data is part of it."""
    settings = EvaluationSettings(
        batch_size=subject.batch_size,
        strategy=strategy,
        dtype=dtype,
        repeats=repeats,
        # As the command does.
        workers=torch.get_num_threads(),
    )
    data = wrapper.split("train", subject.batch_size)
    return evaluate(wrapper, data, blocks, wrapper.state(), settings=settings)


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """One repetition: the seconds of all, and what was found at the points on which the loop was timed."""

    user: dict[AllocatorName, float]
    engine: float
    found: Evaluation
    expected: Tensor


def measure(row: Row, machine: Machine, effort: Effort) -> Measurement:
    """The row. Each repetition runs half of the user's points, the engine with a new wrapper, and the other half."""
    subject = row.subject(machine.device)
    blocks = row.blocks(subject, effort.quick)
    points = sum(len(block.coefficients) for block in blocks)
    chosen = _timed_points(subject, blocks, points, machine, effort)
    halves = [half for half in (chosen[0::2], chosen[1::2]) if len(half)]
    # Where all is short, what only a first run does would weigh; where it is long, a run more is dear.
    warm_up = 1 if len(chosen) == points else 0
    with contextlib.ExitStack() as stack:
        loops = _loops(row, machine, effort, subject, blocks, halves[0][:1], stack)
        turns = [
            _take_turn(row, machine, effort, subject, blocks, halves, loops) for _ in range(warm_up + effort.repeats)
        ]
    counted = turns[warm_up:]
    last = counted[-1]
    limit = math.inf if row.dtype is None else 10 * last.found.sums["loss"].center_value
    reduced, reduced_error = None, None
    if row.dtype is not None:
        start = machine.clock()
        losses = user_losses_reduced(subject, blocks, halves[0], row.dtype)
        reduced = (machine.clock() - start) * points / len(halves[0])
        reduced_error = _difference(losses, last.expected[: len(halves[0])], limit)
    values = torch.from_numpy(last.found.sums["loss"].values)
    targets = dict(zip(get_args(AllocatorName), row.targets, strict=True))
    return Measurement(
        name=row.name,
        dtype=str(row.dtype or torch.float32).removeprefix("torch."),
        points=points,
        timed_points=len(chosen),
        user={name: [turn.user[name] * points / len(chosen) for turn in counted] for name in loops},
        engine=[turn.engine for turn in counted],
        first=turns[0].engine,
        floor=operations(subject) * points / machine.matrix_rate(row.dtype or torch.float32),
        error=_difference(values[np.concatenate(halves)], last.expected, limit),
        largest_error=row.largest_error,
        strategy=last.found.strategy,
        reason=last.found.reason,
        targets={} if machine.device.type != "cpu" or effort.quick else _given(targets),
        seconds_to_reach=row.seconds_to_reach,
        timings=trial_timings(last.found),
        user_reduced=reduced,
        user_reduced_error=reduced_error,
        bytes_moved=activation_bytes(subject, row.dtype) * points if machine.device.type == "cuda" else None,
    )


def compare_strategies(row: Row, machine: Machine, effort: Effort) -> dict[str, list[float]]:
    """Strategy -> seconds of each repetition, `auto` among them; they take turns, each with a wrapper of its own.

    `CHOOSING` stands for what `auto` does before it has chosen: it looks at the data, captures, and makes its trials.
    """
    subject = row.subject(machine.device)
    blocks = row.blocks(subject, effort.quick)
    names: list[StrategyName] = list(get_args(StrategyName))
    if machine.device.type != "cuda":
        names = [name for name in names if not name.endswith("-cudagraph")]
    spent: dict[str, list[float]] = {name: [] for name in (*names, CHOOSING)}
    for repetition in range(effort.repeats + 1):
        for name in names:
            start = machine.clock()
            run_engine(subject.wrapper(), subject, blocks, strategy=name)
            if repetition:
                spent[name].append(machine.clock() - start)
        if repetition:
            spent[CHOOSING].append(machine.seconds(lambda: _choose(subject, blocks)))
    return spent


def _choose(subject: Subject, blocks: Sequence[PointBlock]) -> None:
    wrapper = subject.wrapper()
    settings = EvaluationSettings(batch_size=subject.batch_size, workers=torch.get_num_threads())
    choose_strategy(wrapper, wrapper.split("train", subject.batch_size), blocks, wrapper.state(), settings=settings)


def warm_seconds(row: Row, machine: Machine, effort: Effort) -> list[float]:
    """The engine's time of each repetition where set-up was done before, with the same wrapper."""
    subject = row.subject(machine.device)
    blocks = row.blocks(subject, effort.quick)
    wrapper = subject.wrapper()
    for _ in range(2):
        run_engine(wrapper, subject, blocks, dtype=row.dtype, repeats=_MANY)
    return [
        machine.seconds(lambda: run_engine(wrapper, subject, blocks, dtype=row.dtype, repeats=_MANY))
        for _ in range(max(5, effort.repeats))
    ]


def trial_timings(found: Evaluation) -> dict[str, float]:
    """Candidate -> seconds, where the engine tried several."""
    return dict(found.timings)


def operations(subject: Subject) -> float:
    """Floating-point operations of the dense arithmetic of one pass over the data."""
    few = subject.with_first(min(subject.batch_size, len(subject.data[0])))
    # The counter does not know the CPU's fused attention.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        subject.model(few.data[0])
    return counter.get_total_flops() * len(subject.data[0]) / len(few.data[0])


def activation_bytes(subject: Subject, dtype: torch.dtype | None) -> float:
    """Bytes that one pass over the data moves where each convolution or linear layer reads and writes once.

    Everything between them is taken to be fused into them, so this is the least that can be moved.
    """
    elements = 0

    def count(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal elements
        elements += inputs[0].numel() + output.numel()

    few = subject.with_first(min(16, len(subject.data[0])))
    layers = [module for module in subject.model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        subject.model(few.data[0])
    for hook in hooks:
        hook.remove()
    return elements * (dtype or torch.float32).itemsize * len(subject.data[0]) / len(few.data[0])


def _loops(
    row: Row,
    machine: Machine,
    effort: Effort,
    subject: Subject,
    blocks: Sequence[PointBlock],
    few: np.ndarray,
    stack: contextlib.ExitStack,
) -> dict[AllocatorName, Loop]:
    """The user's loop in this process, and on a CPU, if the allocator is tuned here, in one where it is not."""

    def here(chosen: np.ndarray) -> tuple[float, Tensor]:
        start = machine.clock()
        losses = user_losses(subject, blocks, chosen)
        return machine.clock() - start, losses

    if not machine.tuned:
        return {"default": here}
    if machine.device.type != "cpu":
        return {"tuned": here}
    elsewhere = LoopElsewhere(row.name, quick=effort.quick)
    stack.callback(elsewhere.close)
    # It has to import, train and warm up before it is timed.
    elsewhere.losses(few)
    return {"default": elsewhere.losses, "tuned": here}


def _take_turn(
    row: Row,
    machine: Machine,
    effort: Effort,
    subject: Subject,
    blocks: Sequence[PointBlock],
    halves: Sequence[np.ndarray],
    loops: Mapping[AllocatorName, Loop],
) -> _Turn:
    user = dict.fromkeys(loops, 0.0)
    expected: dict[AllocatorName, list[Tensor]] = {name: [] for name in loops}

    def run_loops(chosen: np.ndarray) -> None:
        for name, loop in loops.items():
            seconds, losses = loop(chosen)
            user[name] += seconds
            expected[name].append(losses)

    run_loops(halves[0])
    start = machine.clock()
    found = run_engine(subject.wrapper(), subject, blocks, dtype=row.dtype, repeats=_MANY if effort.quick else 1)
    engine = machine.clock() - start
    # What the engine's processes leave to the system is not to be in the loop's way.
    await_ended()
    for half in halves[1:]:
        run_loops(half)
    first, *others = (torch.cat(losses) for losses in expected.values())
    if any(_difference(losses, first, math.inf) > _LOOPS_DIFFER for losses in others):
        raise SystemExit(f"{row.name}: the user's loop has other losses in the other process, so nothing is compared")
    return _Turn(user=user, engine=engine, found=found, expected=first)


def _timed_points(
    subject: Subject, blocks: Sequence[PointBlock], points: int, machine: Machine, effort: Effort
) -> np.ndarray:
    """Which points the user's loop is timed on: all, or some that are spread evenly over them."""
    if effort.full or effort.quick:
        return np.arange(points)
    few = np.unique(np.linspace(0, points - 1, min(5, points)).astype(int))
    user_losses(subject, blocks, few)
    a_point = machine.seconds(lambda: user_losses(subject, blocks, few)) / len(few)
    count = int(min(points, max(_LEAST_POINTS, _USER_SECONDS / a_point)))
    return np.unique(np.linspace(0, points - 1, count).round().astype(int))


def _given(targets: Mapping[AllocatorName, float | None]) -> dict[AllocatorName, float]:
    return {name: target for name, target in targets.items() if target is not None}


def _difference(losses: Tensor, expected: Tensor, limit: float) -> float:
    """The largest relative difference where the expected loss is below the limit."""
    left, right = losses.double().cpu(), expected.double().cpu()
    near = right < limit
    return float(((left - right).abs() / right.abs())[near].max()) if near.any() else 0.0
