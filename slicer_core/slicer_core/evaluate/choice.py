"""Which strategy runs a block on a batch: the one that was asked for, or the loop where it does not apply or differs.

Each batch is held against the loop, which runs the user's own forward, at one point off the center.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch

from slicer_core.choices import CompileChoice, Layout
from slicer_core.evaluate.agreement import hold_against_loop
from slicer_core.evaluate.candidate import Candidate
from slicer_core.evaluate.decisions import moved_key
from slicer_core.evaluate.layout import is_splittable
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.parallel import one_thread
from slicer_core.evaluate.part_sizes import part_sizes
from slicer_core.evaluate.sharing import Groups
from slicer_core.evaluate.shortage import MemoryShortageError, is_shortage
from slicer_core.evaluate.strategies import (
    FAILURES,
    PARTIAL_KINDS,
    RECORDERS,
    CannotEvaluateError,
    Kernel,
    LoopKernel,
    Session,
    VmapKernel,
)
from slicer_core.evaluate.traces import traces_of
from slicer_core.evaluate.trials import Trials, typical_block
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch, ModelWrapper

# Strategies whose points processes may share; compiled code has threads of its own, which a fork does not take along.
_SHARED = ("loop", "vmap", "partial", "partial-vmap", "partial-native", "partial-winograd")

# Strategies that decide in which layout a matrix is combined.
_LAID_OUT = ("partial", "partial-winograd", "partial-cudagraph")

Decided = tuple[dict[tuple[str, int], Layout], dict[str, tuple[str, ...]]]
"""Layouts by what moves and the number of threads, and cuts by what moves; see `Traces` and `Decisions`."""


class StrategyChoice:
    """Gives kernels for blocks and batches, and remembers what was used and why something was given up."""

    def __init__(
        self,
        name: str,
        wrapper: ModelWrapper,
        objective: Objective,
        state: NamedTensors,
        dtype: torch.dtype | None,
        *,
        workers: int = 1,
        compiling: CompileChoice = "off",
        memory_budget: int = sys.maxsize,
    ) -> None:
        self._candidate = Candidate(strategy=name, workers=workers if name in _SHARED else 1)
        self._wrapper = wrapper
        self._objective = objective
        self._state = state
        self._dtype = dtype
        self._max_workers = workers
        self._compiling: CompileChoice = compiling
        self._memory_budget = memory_budget
        self._recomputing = False
        self._max_part = sys.maxsize
        traces = traces_of(wrapper, dtype)
        self._session = Session(traces)
        # What an earlier evaluation captured may have Python values in it that the model has changed since.
        self._is_inherited = not traces.tracer.is_empty
        self._used: dict[str, int] = {}
        self._reasons: dict[str, None] = {}
        self._given_up: set[frozenset[str]] = set()
        self._given_up_at_first: frozenset[frozenset[str]] = frozenset()
        self._checked: set[frozenset[str]] = set()
        # What `holds` made last, for when its block is run.
        self._probed: tuple[PointBlock, Batch, Kernel] | None = None
        self.timings: dict[str, float] = {}

    def take_used(self) -> dict[str, int]:
        """How many kernels there were of each strategy since the last time that this was asked."""
        used, self._used = self._used, {}
        return used

    @property
    def reasons(self) -> list[str]:
        """Why strategies were given up."""
        return list(self._reasons)

    @property
    def label(self) -> str:
        """What was chosen, as it stands among the timings."""
        return self._candidate.label

    @property
    def seconds(self) -> float | None:
        """What the trials say of a point of the batch by what was chosen; None where there were none."""
        return self._candidate.seconds(self.timings)

    @property
    def workers(self) -> int:
        """How many processes share the points."""
        return self._candidate.workers

    @property
    def points_before(self) -> float:
        """See `Candidate`; where a later process is to decide alike, without timings, which it has none of."""
        return self._candidate.points_before({} if self._session.traces.decides_alike else self.timings)

    def settle(self, batch: Batch, blocks: Sequence[PointBlock], *, batches: float, slices: int) -> None:
        """Resolves `auto` once, by trials of the candidates on the batch; see `Trials`.

        How much of the same is to come: so many batches like this in each of so many slices.
        """
        if not blocks:
            self._candidate = Candidate(strategy="loop")
            return
        moved = _varied(typical_block(blocks))
        self._settle(batch, blocks, moved, batches=batches, slices=slices)
        key = moved_key(moved, len(blocks), batch.num_samples)
        self._session.traces.decisions.strategies.setdefault(key, self._candidate.to_tuple())

    def _settle(
        self, batch: Batch, blocks: Sequence[PointBlock], moved: frozenset[str], *, batches: float, slices: int
    ) -> None:
        key = (moved, len(blocks), batch.num_samples, self._max_workers)
        known = self._session.traces.chosen.get(key)
        if known is not None and self._candidate.strategy in ("auto", known[0].strategy):
            self._candidate, self.timings = known
            return
        if self._candidate.strategy == "auto" and (decided := self._decided(batch, blocks, moved)) is not None:
            self._candidate = decided
            return
        trials = Trials(self._objective, self._state, self._session, self._create)
        if self._candidate.strategy == "auto":
            self._candidate = trials.fastest(
                batch,
                blocks,
                batches=batches,
                slices=slices,
                max_workers=self._max_workers,
                compiling=self._compiling,
            )
            self.timings = trials.timings
            self._reasons |= dict.fromkeys(trials.reasons)
            if len(self.timings) > 1:
                self._session.traces.chosen[key] = (self._candidate, self.timings)
            return
        if self._candidate.strategy in ("partial", "partial-vmap") and self._compiling == "on":
            self._candidate = Candidate(strategy=f"{self._candidate.strategy}-compiled")
        if self._candidate.strategy.startswith("partial") and is_splittable(self._objective, batch):
            is_tiled = PARTIAL_KINDS[self._candidate.strategy].has_tiles
            sizes = part_sizes(self._objective, self._state, batch, tiled=is_tiled)
            self._candidate = replace(self._candidate, part_size=sizes[0])

    def _decided(self, batch: Batch, blocks: Sequence[PointBlock], moved: frozenset[str]) -> Candidate | None:
        """What a process before this one chose for such a slice."""
        if not self._session.traces.decides_alike:
            return None
        known = self._session.traces.decisions.strategies.get(moved_key(moved, len(blocks), batch.num_samples))
        if known is None:
            return None
        candidate = Candidate.from_tuple(known, max_workers=self._max_workers)
        # A job that was begun on a GPU may go on without one.
        can_run = self._objective.device.type in RECORDERS or not candidate.is_recorded
        return candidate if can_run else None

    @property
    def may_decide_later(self) -> bool:
        """Whether no other process, at the same time or later, has to know what timing decides."""
        return self.workers == 1 and not self._session.traces.decides_alike

    def decide_all(self, batch: Batch, blocks: Sequence[PointBlock]) -> None:
        """Decides what is open for each set of moved tensors, so that all of it is known before the first tile."""
        if not self._candidate.strategy.startswith("partial"):
            return
        used = dict(self._used)
        self._decide_all(batch, blocks)
        # Nothing that a result has was evaluated here.
        self._used = used
        self._given_up_at_first = frozenset(self._given_up)

    def _decide_all(self, batch: Batch, blocks: Sequence[PointBlock]) -> None:
        traces, part = self._session.traces, self.parts(batch)[0]
        if self._is_inherited and blocks:
            # Found out here, other processes need not find it out each.
            with contextlib.suppress(MemoryShortageError):
                self.kernel(typical_block(blocks), part, None, probe=None)
        if not traces.decides_alike and self.workers > 1 and Groups(blocks, self.workers).are_blocks:
            # Each is run by one process, which decides for itself.
            return
        with one_thread() if self.workers > 1 else contextlib.nullcontext():
            threads, seen = torch.get_num_threads(), set[frozenset[str]]()
            for block in blocks:
                moved = _varied(block)
                key = moved_key(moved)
                is_laid_out = (key, threads) in traces.layouts or self._candidate.strategy not in _LAID_OUT
                if moved not in seen and not (key in traces.decisions.cuts and is_laid_out):
                    with contextlib.suppress(MemoryShortageError):
                        self.kernel(block, part, None, probe=None).terms(part, slice(0, 1))
                if (layout := traces.layouts.get((key, threads))) is not None:
                    traces.decisions.layouts.setdefault(key, layout)
                seen.add(moved)

    def decided(self) -> Decided:
        """What was decided in this process, to be sent to another."""
        traces = self._session.traces
        return dict(traces.layouts), dict(traces.decisions.cuts)

    def adopt(self, decided: Decided) -> None:
        """Takes what another process decided where this one has not."""
        traces = self._session.traces
        layouts, cuts = decided
        traces.layouts = {**layouts, **traces.layouts}
        traces.decisions.cuts = {**cuts, **traces.decisions.cuts}

    def fork(self) -> StrategyChoice:
        """The same choice for a share of the blocks, which remembers for itself what it used and gave up.

        What the trials prepared is its own too: a process that is forked has it as it is.
        """
        other = StrategyChoice("loop", self._wrapper, self._objective, self._state, self._dtype)
        other._candidate, other._session = self._candidate, self._session
        other._checked, other._given_up = set(self._checked), set(self._given_up)
        other._memory_budget = self._memory_budget // self.workers
        other._max_part, other._is_inherited = self._max_part, self._is_inherited
        return other

    def parts(self, batch: Batch) -> list[Batch]:
        """The batch in parts whose activations fit a core's cache, where the loss is a sum over its samples."""
        size = min(self._candidate.part_size, self._max_part)
        if size >= batch.num_samples or not is_splittable(self._objective, batch):
            return [batch]
        return self._session.split(batch, size)

    def limit_parts(self, size: int) -> None:
        """No part of a batch has more samples from now on."""
        self._max_part = min(size, self._max_part)

    def smaller_parts(self, batch: Batch, size: int) -> list[Batch]:
        """The batch, which does not fit the memory, in parts of `size`; batches to come have no larger ones.

        Empty where it can't be cut so.
        """
        if size < 1 or not is_splittable(self._objective, batch):
            return []
        self.limit_parts(size)
        return self._session.split(batch, size)

    def keep_less(self) -> bool:
        """From now on keeps less between points, where a batch that can't be cut does not fit the memory.

        Affine parts are run again at each point, and then the loop does it all. False where nothing is kept already.
        """
        name = self._candidate.strategy
        if not name.startswith("partial"):
            return False
        self._reasons[f"{name}: what would be combined does not fit the memory"] = None
        if self._recomputing:
            self._candidate = replace(self._candidate, strategy="loop")
        self._recomputing, self._probed = True, None
        return True

    def holds(self, block: PointBlock, batch: Batch, buffers: Sequence[NamedTensors] | None, *, probe: int) -> bool:
        """Whether the block agrees with the loop on the batch; if not, other blocks may not either, on this batch."""
        varied = _varied(block)
        if self._candidate.strategy == "loop" or varied in self._given_up:
            return True
        used = dict(self._used)
        try:
            kernel = self.kernel(block, batch, buffers, probe=probe)
            if buffers is None and kernel.is_light:
                self._probed = block, batch, kernel
        except MemoryShortageError:
            return False
        finally:
            self._used = used
        return varied not in self._given_up

    def give_up(self, block: PointBlock, error: BaseException) -> bool:
        """From now on the loop runs what moves the block's tensors; False where it does already."""
        name, varied = self._candidate.strategy, _varied(block)
        if name == "loop" or varied in self._given_up:
            return False
        self._reasons[f"{name}: {first_line(error)}"] = None
        self._given_up.add(varied)
        return True

    def begin_again(self) -> None:
        """Points that are asked for next are run as a process runs them that was asked for no others before."""
        self._given_up = set(self._given_up_at_first)

    @property
    def given_up(self) -> frozenset[frozenset[str]]:
        """The sets of moved tensors that the loop runs in place of what was chosen."""
        return frozenset(self._given_up)

    def has_given_up(self, blocks: Sequence[PointBlock]) -> bool:
        """Whether the loop runs some of the blocks in place of what was chosen."""
        return any(_varied(block) in self._given_up for block in blocks)

    def kernel(
        self, block: PointBlock, batch: Batch, buffers: Sequence[NamedTensors] | None, *, probe: int | None
    ) -> Kernel:
        """The kernel for a block on a batch; `probe` is the seed of the point that is checked.

        None for no check, unless it is the first block that moves these tensors.
        """
        name, varied = self._candidate.strategy, _varied(block)
        kernel = None
        if name != "loop" and varied not in self._given_up:
            try:
                kernel = (probe is None and self._take_probed(block, batch)) or self._create(name, block, buffers)
                if probe is not None or varied not in self._checked:
                    kernel = self._held(kernel, block, batch, probe)
                    self._checked.add(varied)
                kernel.prepare(batch)
            except FAILURES as error:
                if is_shortage(error):
                    raise MemoryShortageError from error
                self.give_up(block, error)
                kernel = None
        used = name if kernel is not None else "loop"
        self._used[used] = self._used.get(used, 0) + 1
        return kernel or LoopKernel(self._objective, self._state, block, buffers)

    def _take_probed(self, block: PointBlock, batch: Batch) -> Kernel | None:
        """The kernel that was held against the loop by `holds`, which need not be prepared again."""
        if self._probed is None or self._probed[0] is not block or self._probed[1] is not batch:
            return None
        (_, _, kernel), self._probed = self._probed, None
        return kernel

    def _held(self, kernel: Kernel, block: PointBlock, batch: Batch, probe: int | None) -> Kernel:
        """The kernel, held against the loop; another one where it ran a trace that the model has left behind.

        Raises:
            CannotEvaluateError: they differ.
        """
        traces = self._session.traces
        if not self._is_inherited or traces.is_rough:
            hold_against_loop(kernel, block, batch, self._state, probe=probe)
            return kernel
        try:
            hold_against_loop(kernel, block, batch, self._state, probe=probe, closely=True)
        except FAILURES as error:
            if is_shortage(error):
                raise
        else:
            return kernel
        self._is_inherited = False
        traces.forget()
        self._session.forget()
        kernel = self._create(self._candidate.strategy, block, None)
        try:
            hold_against_loop(kernel, block, batch, self._state, probe=probe, closely=True)
        except CannotEvaluateError:
            # It is not for the trace's age that they differ.
            traces.is_rough = True
            hold_against_loop(kernel, block, batch, self._state, probe=probe)
        return kernel

    def _create(self, name: str, block: PointBlock, buffers: Sequence[NamedTensors] | None) -> Kernel:
        if buffers is not None:
            raise CannotEvaluateError("BatchNorm statistics differ from point to point")
        if name == "vmap":
            return VmapKernel(self._objective, self._state, block)
        return PARTIAL_KINDS[name](
            self._objective,
            self._state,
            block,
            session=self._session,
            memory_budget=self._memory_budget,
            recomputing=self._recomputing,
        )


def _varied(block: PointBlock) -> frozenset[str]:
    return frozenset(name for direction in block.directions() for name in direction)


def first_line(error: BaseException) -> str:
    """What an error says, short."""
    text = str(error.__cause__ or error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
