"""All points of some blocks on a split, in this process or in several that share them; see `sharing` and `parallel`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from slicer_core.evaluate.choice import Decided, StrategyChoice
from slicer_core.evaluate.objective import Objective, Terms
from slicer_core.evaluate.outputs import SumsOutput
from slicer_core.evaluate.parallel import shared_out
from slicer_core.evaluate.points import Advance, KnownBatches, PartKey, Piece, PointsRun
from slicer_core.evaluate.sharing import Groups, SharedProgress, Taken, TakenParts, Tickets, parts_pay
from slicer_core.evaluate.sums import PointSums
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS, Batch, SplitData, cast_batch


@dataclass(frozen=True, kw_only=True)
class _Record:
    """The strategies that ran with how often, why some did not, and what timing decided there."""

    used: dict[str, int]
    reasons: list[str]
    decided: Decided


@dataclass(frozen=True, kw_only=True)
class Share(_Record):
    """What one process gives of some points on all data: their sums; `where` are their indices."""

    sums: dict[str, PointSums]
    where: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _PartsShare(_Record):
    """What one process gives of all points on some parts of the data, by number; see `KnownBatches` for `known`.

    `is_even`: whether each sample of them is one entry. `has_given_up`: whether the loop took over on one of them.
    """

    parts: dict[int, dict[str, PointSums]]
    known: Mapping[PartKey, Terms]
    is_even: bool
    has_given_up: bool


class Shares:
    """The points of one center on one split, asked for bit by bit; `is_total` is that of `PointSums`."""

    def __init__(
        self, objective: Objective, state: NamedTensors, data: SplitData, *, is_total: bool, known: KnownBatches
    ) -> None:
        self._objective = objective
        self._state = state
        self._data = data
        self._is_total = is_total
        self._known = known

    def here(
        self,
        blocks: Sequence[PointBlock],
        choice: StrategyChoice,
        report: Advance | None,
        buffers: Sequence[NamedTensors] | None = None,
        taken: Taken | None = None,
    ) -> Share:
        """All points, or those that are taken."""
        num_points = sum(len(block.coefficients) for block in blocks)
        output = self._output(num_points)
        run = self._run(choice, report, buffers=buffers, taken=taken)
        run.over(map(self._cast, self._data.batches()), self._data.num_samples, blocks, output)
        sums, where = output.result(), np.arange(num_points)
        if taken is not None:
            where = taken.indices
            sums = {name: found.at(where) for name, found in sums.items()}
        return Share(sums=sums, where=where, used=choice.take_used(), reasons=choice.reasons, decided=choice.decided())

    def in_processes(
        self, blocks: Sequence[PointBlock], choice: StrategyChoice, count: int, advance: Advance | None
    ) -> Share:
        """The points, or the parts of the data, shared among processes; this one reports for all of them."""
        num_points = sum(len(block.coefficients) for block in blocks)
        progress = SharedProgress(num_points, count, advance)
        if self._objective.sums_over_samples:
            num_parts = sum(len(choice.parts(batch)) for batch in self._data.batches())
            if parts_pay(num_parts, num_points, choice.points_before, count):
                share = self._by_parts(blocks, choice, min(count, num_parts), num_parts, progress)
                if share is not None:
                    return share
        return self._by_points(blocks, choice, count, progress)

    def _by_points(
        self, blocks: Sequence[PointBlock], choice: StrategyChoice, count: int, progress: SharedProgress
    ) -> Share:
        groups, here = Groups(blocks, count), os.getpid()

        def run(taken: Taken) -> Share:
            # Other processes tell nothing.
            return self.here(blocks, choice.fork(), progress if os.getpid() == here else None, taken=taken)

        with contextlib.closing(Tickets()) as tickets:
            results, reasons = shared_out([lambda: run(Taken(groups, tickets))] * count)
        # What a process had taken that gave no result.
        if missing := groups.without([result.where for result in results]):
            results.append(run(Taken(groups, None, missing)))
        progress.finish()
        sums = {
            name: PointSums.joined([(result.sums[name], result.where) for result in results])
            for name in results[0].sums
        }
        return _together(sums, results, reasons, choice)

    def _by_parts(
        self, blocks: Sequence[PointBlock], choice: StrategyChoice, count: int, num_parts: int, progress: SharedProgress
    ) -> Share | None:
        """None where who has a part does not know all that its sums depend on.

        Parts may have another number of entries than of samples, so that they can't be numbered; and where a strategy
        fails on a part, the loop runs all after it.
        """
        here = os.getpid()

        def run(taken: TakenParts) -> _PartsShare:
            report = progress if os.getpid() == here else None
            return self._of_parts(blocks, choice.fork(), self._pieces(choice), taken, report)

        with contextlib.closing(Tickets()) as tickets:
            results, reasons = shared_out([lambda: run(TakenParts(tickets))] * count)
        parts = {number: sums for result in results for number, sums in result.parts.items()}
        # What a process had taken that gave no result.
        if missing := [number for number in range(num_parts) if number not in parts]:
            results.append(run(TakenParts(None, missing)))
            parts |= results[-1].parts
        if not all(result.is_even for result in results) or any(result.has_given_up for result in results):
            return None
        progress.finish()
        for result in results:
            self._known.add(result.known)
        # In the data's order, as one process adds them up.
        sums = {name: PointSums.added([parts[number][name] for number in range(num_parts)]) for name in parts[0]}
        return _together(sums, results, reasons, choice)

    def _of_parts(
        self,
        blocks: Sequence[PointBlock],
        choice: StrategyChoice,
        pieces: Iterable[Piece],
        taken: TakenParts,
        report: Advance | None,
    ) -> _PartsShare:
        num_points = sum(len(block.coefficients) for block in blocks)
        run, before, is_even = self._run(choice, report), self._known.keys(), True
        given_up, first = choice.given_up, 0
        parts: dict[int, dict[str, PointSums]] = {}
        for number, piece in enumerate(pieces):
            if number in taken:
                output = self._output(num_points, first_entry=first)
                cast = replace(piece, batch=self._cast(piece.batch))
                run.over_piece(cast, self._data.num_samples, blocks, output)
                parts[number] = output.result()
                is_even = is_even and parts[number][LOSS].num_entries == piece.batch.num_samples
            first += piece.batch.num_samples
        return _PartsShare(
            parts=parts,
            known=self._known.without(before),
            is_even=is_even,
            has_given_up=choice.given_up != given_up,
            used=choice.take_used(),
            reasons=choice.reasons,
            decided=choice.decided(),
        )

    def _pieces(self, choice: StrategyChoice) -> Iterator[Piece]:
        """The parts of all batches, not cast yet: most of them are another process's."""
        for index, whole in enumerate(self._data.batches()):
            start = 0
            for batch in choice.parts(whole):
                yield Piece(batch=batch, index=index, start=start)
                start += batch.num_samples

    def _run(
        self,
        choice: StrategyChoice,
        report: Advance | None,
        *,
        buffers: Sequence[NamedTensors] | None = None,
        taken: Taken | None = None,
    ) -> PointsRun:
        return PointsRun(
            choice, self._objective, self._state, buffers=buffers, advance=report, known=self._known, taken=taken
        )

    def _cast(self, batch: Batch) -> Batch:
        return cast_batch(batch, self._objective.device, self._objective.dtype)

    def _output(self, num_points: int, *, first_entry: int = 0) -> SumsOutput:
        return SumsOutput(num_points, self._objective.device, is_total=self._is_total, first_entry=first_entry)


def _together(
    sums: dict[str, PointSums], results: Sequence[_Record], reasons: Sequence[str], choice: StrategyChoice
) -> Share:
    used: dict[str, int] = {}
    for result in results:
        choice.adopt(result.decided)
        for name, number in result.used.items():
            used[name] = used.get(name, 0) + number
    return Share(
        sums=sums,
        where=np.arange(len(next(iter(sums.values())).total)),
        used=used,
        reasons=[*reasons, *(reason for result in results for reason in result.reasons)],
        decided=choice.decided(),
    )
