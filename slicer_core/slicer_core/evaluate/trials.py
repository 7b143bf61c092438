"""Trials of strategies on the real thing: the first batch, a block of the plan, a few points each.

They take at most a share of what the whole job would take by the best way known so far, and leave their timings behind.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from slicer_core.choices import CompileChoice
from slicer_core.evaluate.candidate import PREPARING, Candidate, Outcome, Outcomes
from slicer_core.evaluate.capturing import CAPTURE_PASSES, seconds_to_export, seconds_to_record
from slicer_core.evaluate.finals import MOST_POINTS, ROUNDS, close_totals, timed_in_turns
from slicer_core.evaluate.in_c import dense_may_pay
from slicer_core.evaluate.job_seconds import FORK_SECONDS, Job
from slicer_core.evaluate.layout import is_splittable, weight_laid_out
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.parallel import one_thread, shared_out
from slicer_core.evaluate.part_sizes import part_sizes
from slicer_core.evaluate.shortage import MemoryShortageError, is_shortage
from slicer_core.evaluate.strategies import FAILURES, RECORDERS, Kernel, LoopKernel, Session
from slicer_core.evaluate.tiled import tiles_may_pay
from slicer_core.evaluate.timed import SLOW_SECONDS, timed
from slicer_core.evaluate.winograd import compiled
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch

# A capture pays where the loop alone would take so many times as long. Of a point that takes long, most is arithmetic
# that has to be done all the same, so that less is gained.
_WORTH = 2.0
_WORTH_WHERE_SLOW = 8.0
# What the trials may take of the time that the job would take by the best way known, and how long they may take at
# least and at most.
_SHARE = 0.05
_MIN_SECONDS = 0.02
_MAX_SECONDS = 5.0
# What one candidate may take of that.
_TRIAL_SHARE = 0.02
# Candidates within so many times the least are timed again, in turns, for which all have to be there at once.
_CLOSE = 1.3
_FINAL_BYTES = 64 * 2**20
# They are started for the trial and for the points, so it pays where the loop alone would take so many times as long as
# starting them. Of points that are quick a capture leaves little to share: there the loop has to take even longer.
_FORKS_WORTH = 10
_FORKS_WORTH_WHERE_QUICK = 30
# Where that is more than such a share of what the trials may take, one process is timed first, which tells enough where
# the processes would still be ahead if they were in one another's way so much.
_FORK_SHARE = 0.1
_CONTENTION = 1.5
# What is in C needs less memory and cache, which several processes want of one another, and one that is timed alone has
# to itself: so it is taken for the faster one where it is not so much slower.
_LEANER = 1.1
# A pass that took as long was timed well enough when the loss was checked, in two halves.
_KNOWN_SECONDS = 1e-3
# The trial of a loop that is shared takes some passes, and so many are to be made for it to pay.
_SHARED_LOOP_PASSES = 100
# Compiling takes up to a minute, and is tried where the loop would take much longer.
_LONG_SECONDS = 1800.0
# Below this a point is mostly Python and the starting of operations, which running many at once spares. A GPU is done
# sooner than the next operation is started in larger networks too.
_SMALL_SECONDS = {"cpu": 2e-4}
_SMALL_SECONDS_ELSEWHERE = 1e-3

_TOO_LARGE = (float("inf"), float("inf"))


class Trials:
    """Times candidates; `timings` holds the seconds a point of a batch by label, `reasons` why some could not run."""

    def __init__(
        self,
        objective: Objective,
        state: NamedTensors,
        session: Session,
        create: Callable[[str, PointBlock, None], Kernel],
    ) -> None:
        self._objective = objective
        self._state = state
        self._session = session
        self._create = create
        self.timings: dict[str, float] = {}
        self.reasons: list[str] = []

    def fastest(
        self,
        batch: Batch,
        blocks: Sequence[PointBlock],
        *,
        batches: float,
        slices: int,
        max_workers: int,
        compiling: CompileChoice,
    ) -> Candidate:
        """The candidate with the shortest time for all points of all blocks, on so many batches in each of the slices.

        The loop where all of it is shorter than a capture would take.
        """
        block = typical_block(blocks)
        job = Job(objective=self._objective, batch=batch, blocks=blocks, batches=batches, slices=slices)
        num_points = job.points * batches * slices
        self.timings["loop"] = self._seconds_in_loop(block, batch)
        in_loop = self.timings["loop"] * num_points
        self._limit = _trial_seconds(in_loop)
        self._begun: float | None = None
        # What preparing takes, in seconds a sample.
        self._preparing = 0.0
        self._prepared_for: set[int] = set()
        alone = Candidate(strategy="loop")
        best, seconds, self._best_point, self._is_estimate = alone, in_loop, self.timings["loop"], False
        outcomes = self._outcomes = Outcomes()
        self._compiles = compiling == "on" or (compiling == "auto" and in_loop > _LONG_SECONDS)
        for candidate in self._candidates(batch, max_workers, in_loop):
            found = self._try(candidate, batch, block)
            while found is _TOO_LARGE:
                candidate = replace(candidate, part_size=min(candidate.part_size, batch.num_samples) // 2)
                found = self._try(candidate, batch, block) if candidate.part_size else None
            if found is None:
                continue
            point, prologue = found[0], outcomes.prologue(candidate, found[1])
            total_of = functools.partial(job.seconds, prologue=prologue, in_loop=self.timings["loop"])
            total = total_of(candidate, point=point)
            if candidate.workers > 1 and candidate.label not in self.timings:
                # With all of its threads the one that was timed takes no longer than with one.
                of_one = replace(candidate, workers=1)
                if (total_of_one := total_of(of_one, point=point * candidate.workers)) < total:
                    self.timings[of_one.label_of_one] = self.timings.pop(candidate.label_of_one)
                    candidate, point, total = of_one, point * candidate.workers, total_of_one
            outcomes.note(Outcome(candidate, point, prologue, total))
            is_estimate = candidate.label not in self.timings
            is_leaner = candidate.strategy == "partial-native" and candidate.workers > 1 and is_estimate
            if total < seconds * (_LEANER if is_leaner else 1.0):
                best, seconds, self._best_point, self._is_estimate = candidate, total, point, is_estimate
                # What is left to be gained by more trials.
                self._limit = min(self._limit, _trial_seconds(seconds))
        if best != alone:
            best, seconds = self._final(outcomes, outcomes[best.strategy], batch, block, num_points)
        if best != alone and seconds > in_loop / _WORTH:
            # As carefully as the others.
            loop = LoopKernel(self._objective, self._state, block)
            again, _ = timed(loop, batch, _TRIAL_SHARE * self._limit, is_warm=True)
            self.timings["loop"] = min(again, self.timings["loop"])
            if self.timings["loop"] * num_points < seconds:
                best = alone
        return best

    def _seconds_in_loop(self, block: PointBlock, batch: Batch) -> float:
        """Of a point: what is known of a pass that takes long, and the point's tensors; or all of it timed."""
        loop = LoopKernel(self._objective, self._state, block)
        known = self._objective.pass_seconds(batch)
        if known is None or known <= _KNOWN_SECONDS:
            return timed(loop, batch, 0.0, is_warm=True)[0]
        start = time.perf_counter()
        loop.move_to(0)
        return known + time.perf_counter() - start

    def _final(
        self,
        outcomes: Mapping[str, Outcome],
        best: Outcome,
        batch: Batch,
        block: PointBlock,
        num_points: float,
    ) -> tuple[Candidate, float]:
        """The best of those that came out close to it, timed in turns where that is a small part of a long job."""
        alike = {
            name: outcome.total
            for name, outcome in outcomes.items()
            if outcome.candidate.workers == best.candidate.workers and not outcome.candidate.is_compiled
        }
        close = [outcomes[name] for name in close_totals(alike, within=_CLOSE)]
        parts = [self._part(batch, outcome.candidate.part_size) for outcome in close]
        scales = [batch.num_samples / part.num_samples for part in parts]
        cost = sum(
            (outcome.prologue + (ROUNDS + 1) * outcome.point * outcome.candidate.workers) / scale
            for outcome, scale in zip(close, scales, strict=True)
        )
        cost += FORK_SECONDS if best.candidate.workers > 1 else 0.0
        is_large = sum(tensor.nbytes for tensor in self._state.values()) > _FINAL_BYTES
        if best not in close or self._begun is None or is_large:
            return best.candidate, best.total
        left = _SHARE * best.total - (time.perf_counter() + cost - self._begun)
        if left < 0:
            return best.candidate, best.total
        # Half of what is left, for longer turns: a moment says little on a machine that others use too.
        longer = 1 + min(int(left / 2 / cost), MOST_POINTS - 1)
        makers = [functools.partial(self._make, outcome.candidate.strategy, block) for outcome in close]
        try:
            entrants = list(zip(makers, parts, strict=True))
            points = timed_in_turns(entrants, workers=best.candidate.workers, points=longer)
        except (*FAILURES, MemoryShortageError):
            return best.candidate, best.total
        totals = []
        for outcome, scale, point in zip(close, scales, points, strict=True):
            self.timings[outcome.candidate.label] = scale * point
            totals.append(outcome.total + (scale * point - outcome.point) * num_points)
        least = min(totals)
        return close[totals.index(least)].candidate, least

    def _sizes(self, batch: Batch, in_loop: float) -> list[int]:
        """Of parts to try, in the order of promise; none where a capture costs too much of a job of so many seconds."""
        is_quick = self.timings["loop"] < SLOW_SECONDS or tiles_may_pay(self._objective, in_loop)
        worth = in_loop / (_WORTH if is_quick else _WORTH_WHERE_SLOW)
        worth -= CAPTURE_PASSES * self.timings["loop"]
        model = self._objective.model
        if worth < seconds_to_record(model) and not self._session.traces.tracer.knows(self._state, batch):
            return []
        sizes = self._part_sizes(batch)
        if self._records(self._part(batch, sizes[0])):
            return sizes
        return sizes if worth > seconds_to_export(model) else []

    def _part_sizes(self, batch: Batch, *, tiled: bool = False) -> list[int]:
        if not is_splittable(self._objective, batch):
            return [sys.maxsize]
        return part_sizes(self._objective, self._state, batch, tiled=tiled)

    def _part(self, batch: Batch, size: int) -> Batch:
        return batch if size >= batch.num_samples else self._session.split(batch, size)[0]

    def _records(self, part: Batch) -> bool:
        """Whether there is a capture of such parts, or now is one that took no long time."""
        held = self._objective.unharmed(self._state)
        held = {name: weight_laid_out(tensor, self._objective) for name, tensor in held.items()}
        laid_out = self._session.laid_out(part, self._objective)
        return self._session.traces.tracer.records(self._objective, held, laid_out)

    def _candidates(self, batch: Batch, max_workers: int, in_loop: float) -> Iterator[Candidate]:
        """In the order of promise; the trials end when their time is up."""
        forks_worth = _FORKS_WORTH_WHERE_QUICK if self.timings["loop"] < SLOW_SECONDS else _FORKS_WORTH
        shares_loop = max_workers > 1 and in_loop > max(
            _FORKS_WORTH * FORK_SECONDS, _SHARED_LOOP_PASSES * self.timings["loop"]
        )
        shares_points = max_workers > 1 and in_loop > forks_worth * FORK_SECONDS
        shared_loop = Candidate(strategy="loop", workers=max_workers)
        sizes = self._sizes(batch, in_loop)
        if not sizes:
            self.reasons.append("the job is too short to pay for a capture")
            if shares_loop:
                yield shared_loop
            return
        first = Candidate(strategy="partial", part_size=sizes[0], workers=max_workers if shares_points else 1)
        tiles = list[Candidate]()
        if tiles_may_pay(self._objective, in_loop):
            tile_sizes = self._part_sizes(batch, tiled=True)
            tiles = [replace(first, strategy="partial-winograd", part_size=size) for size in tile_sizes]
        # In C, which processes of one thread run, they are far ahead: the time may be up before all is tried.
        in_one_thread = first.workers > 1 or torch.get_num_threads() == 1
        are_ahead = bool(tiles) and compiled() is not None and in_one_thread
        yield from (*tiles[:1], first, *tiles[1:]) if are_ahead else (first, *tiles)
        known = self._outcomes.best()
        has_one_thread = torch.get_num_threads() == 1 or (known is not None and known.candidate.workers > 1)
        if known is not None and has_one_thread and dense_may_pay(self._objective, known.total):
            yield replace(known.candidate, strategy="partial-native")
            known = self._outcomes.best()
        if known is None:
            yield Candidate(strategy="vmap")
            if max_workers > 1:
                yield shared_loop
            return
        if shares_loop and known.point > self.timings["loop"] / _WORTH:
            yield shared_loop
        device = self._objective.device.type
        small = _SMALL_SECONDS.get(device, _SMALL_SECONDS_ELSEWHERE)
        is_small, records = known.point * known.candidate.workers < small, device in RECORDERS
        if is_small:
            yield Candidate(strategy="partial-vmap", part_size=sizes[0])
        if records and is_small:
            yield Candidate(strategy="partial-vmap-cudagraph", part_size=sizes[0])
        if records:
            yield Candidate(strategy="partial-cudagraph", part_size=sizes[0])
        for size in sizes:
            for workers in (max_workers, 1) if shares_points else (1,):
                candidate = Candidate(strategy="partial", part_size=size, workers=workers)
                # Where processes are too dear to be tried, they are taken to outrun one of as many threads, as they
                # usually do: see `parallel`.
                is_taken = size == first.part_size and self._is_estimate
                if candidate == first or is_taken:
                    continue
                yield candidate
                outcome = self._outcomes.get("partial")
                if shares_points and workers == 1 and outcome is not None and outcome.candidate == candidate:
                    # That one outruns several is rare, and that they were held up a moment is not.
                    yield replace(candidate, workers=max_workers)
        if self._compiles:
            # Its threads are its own, so it is not shared among processes.
            yield Candidate(strategy="partial-compiled", part_size=sizes[0])
            if is_small:
                yield Candidate(strategy="partial-vmap-compiled", part_size=sizes[0])

    def _make(self, strategy: str, block: PointBlock) -> Kernel:
        if strategy == "loop":
            return LoopKernel(self._objective, self._state, block)
        return self._create(strategy, block, None)

    def _try(self, candidate: Candidate, batch: Batch, block: PointBlock) -> tuple[float, float] | None:
        """Seconds a point of the whole batch, and of its prologue; None where it can't run or the time is up.

        `_TOO_LARGE` where smaller parts of the batch may fit the memory.
        """
        part = self._part(batch, candidate.part_size)
        if self._begun is not None and not candidate.is_compiled:
            # Another size of parts needs a capture and a cut of its own, which for larger ones takes longer.
            ahead = 0.0 if self._session.traces.tracer.knows(self._state, part) else self._preparing * part.num_samples
            if time.perf_counter() + ahead - self._begun > self._limit:
                return None
        limit, rival = _TRIAL_SHARE * self._limit, self._outcomes.rival(candidate)
        prepared: Kernel | None = None

        def share() -> tuple[float, float]:
            return timed(prepared or self._make(candidate.strategy, block), part, limit, is_warm=prepared is not None)

        try:
            if rival is not None:
                return self._beside(rival, candidate, batch, block, limit)
            if candidate.strategy in PREPARING and candidate.workers not in self._prepared_for:
                # Capture, partition and layout are work that has to be done once, and no part of what a block costs.
                self._prepared_for.add(candidate.workers)
                start = time.perf_counter()
                with one_thread() if candidate.workers > 1 else contextlib.nullcontext():
                    kernel = self._create(candidate.strategy, block, None)
                    kernel.terms(part, slice(0, 1))
                # Of a cut that was known before, what goes before the points is yet to be timed.
                prepared = kernel if kernel.seconds_before is not None else None
                self._preparing = max(self._preparing, (time.perf_counter() - start) / part.num_samples)
            if self._begun is None:
                self._begun = time.perf_counter()
            if (alone := self._timed_alone(candidate, batch.num_samples / part.num_samples, share)) is not None:
                return alone
            # Of several processes each makes its own, beside which this one is not to lie.
            prepared = prepared if candidate.workers == 1 else None
            # They want memory and cache of one another, so they are timed together.
            found, reasons = shared_out([share] * candidate.workers)
        except (*FAILURES, MemoryShortageError) as error:
            if is_shortage(error) and is_splittable(self._objective, batch):
                return _TOO_LARGE
            text = str(error.__cause__ or error).strip()
            self.reasons.append(f"{candidate.strategy}: {text.splitlines()[0][:200] if text else type(error).__name__}")
            return None
        if reasons:
            self.reasons += reasons
            return None
        scale = batch.num_samples / part.num_samples
        point = scale / sum(1 / seconds for seconds, _ in found)
        self.timings[candidate.label] = point
        # What was compiled is kept for all batches.
        return point, 0.0 if candidate.is_compiled else scale * max(prologue for _, prologue in found)

    def _beside(
        self, rival: Outcome, candidate: Candidate, batch: Batch, block: PointBlock, limit: float
    ) -> tuple[float, float]:
        """What `_try` gives, from the rival's time and turns of both; the prologue is the rival's."""
        part, is_estimate = self._part(batch, candidate.part_size), rival.candidate.label not in self.timings
        of_one = rival.point * candidate.workers * part.num_samples / batch.num_samples
        entrants = [
            (functools.partial(self._make, strategy, block), part)
            for strategy in (rival.candidate.strategy, candidate.strategy)
        ]
        points = min(max(1, int(limit / (ROUNDS * of_one))), MOST_POINTS)
        with one_thread() if is_estimate and candidate.workers > 1 else contextlib.nullcontext():
            theirs, own = timed_in_turns(entrants, workers=1 if is_estimate else candidate.workers, points=points)
        point = rival.point * own / theirs
        if is_estimate:
            self.timings[candidate.label_of_one] = point * candidate.workers
        else:
            self.timings[candidate.label] = point
        return point, rival.prologue

    def _timed_alone(
        self, candidate: Candidate, scale: float, share: Callable[[], tuple[float, float]]
    ) -> tuple[float, float] | None:
        """What `_try` gives, by one of the processes; None where all have to be started to tell."""
        if candidate.workers == 1 or _FORK_SHARE * self._limit >= FORK_SECONDS:
            return None
        with one_thread():
            seconds, prologue = share()
        point = scale * seconds / candidate.workers
        # Beside another that was timed so, both are in the same way.
        if not self._is_estimate and point * _CONTENTION > self._best_point:
            return None
        self.timings[candidate.label_of_one] = scale * seconds
        return point, scale * prologue


def _trial_seconds(job: float) -> float:
    """How long trials of a job may take that takes so many seconds itself."""
    return min(max(_SHARE * job, _MIN_SECONDS), _MAX_SECONDS)


def typical_block(blocks: Sequence[PointBlock]) -> PointBlock:
    """One in an early layer, where there are several: what comes after it makes up most of the work of all."""
    return blocks[len(blocks) // 4]
