"""All points of some blocks on a split, in this process or in several that share them; see `sharing` and `parallel`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from slicer_core.evaluate.choice import Decided, StrategyChoice
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.outputs import SumsOutput
from slicer_core.evaluate.parallel import shared_out
from slicer_core.evaluate.points import Advance, KnownBatches, PointsRun
from slicer_core.evaluate.sharing import Groups, SharedProgress, Taken, Tickets
from slicer_core.evaluate.sums import PointSums
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one process gives: its points' sums, the strategies that ran with how often, and why some did not.

    `where` are the points' indices; `decided` is what timing decided there.
    """

    sums: dict[str, PointSums]
    where: np.ndarray
    decided: Decided
    used: dict[str, int]
    reasons: list[str]


class Shares:
    """The points of one center on one split, asked for bit by bit.

    `batches` reads the split as it is evaluated, `num_samples` in all; `is_total` is that of `PointSums`.
    """

    def __init__(
        self,
        objective: Objective,
        state: NamedTensors,
        batches: Callable[[], Iterable[Batch]],
        num_samples: int,
        *,
        is_total: bool,
    ) -> None:
        self._objective = objective
        self._state = state
        self._batches = batches
        self._num_samples = num_samples
        self._is_total = is_total
        self._known = KnownBatches()

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
        output = SumsOutput(num_points, self._objective.device, is_total=self._is_total)
        points = PointsRun(
            choice,
            self._objective,
            self._state,
            output,
            buffers=buffers,
            advance=report,
            known=self._known,
            taken=taken,
        )
        points.over(self._batches(), self._num_samples, blocks)
        sums, where = output.result(), np.arange(num_points)
        if taken is not None:
            where = taken.indices
            sums = {name: found.at(where) for name, found in sums.items()}
        return Share(sums=sums, used=choice.take_used(), reasons=choice.reasons, where=where, decided=choice.decided())

    def in_processes(
        self, blocks: Sequence[PointBlock], choice: StrategyChoice, count: int, advance: Advance | None
    ) -> Share:
        """The points shared among processes; this one reports for all of them."""
        groups = Groups(blocks, count)
        report, here = SharedProgress(groups.num_points, count, advance), os.getpid()

        def run(taken: Taken) -> Share:
            # Other processes tell nothing.
            return self.here(blocks, choice.fork(), report if os.getpid() == here else None, taken=taken)

        with contextlib.closing(Tickets()) as tickets:
            results, reasons = shared_out([lambda: run(Taken(groups, tickets))] * count)
        # What a process had taken that gave no result.
        if missing := groups.without([result.where for result in results]):
            results.append(run(Taken(groups, None, missing)))
        report.finish()
        used: dict[str, int] = {}
        for result in results:
            choice.adopt(result.decided)
            for name, number in result.used.items():
                used[name] = used.get(name, 0) + number
        return Share(
            sums={
                name: PointSums.joined([(result.sums[name], result.where) for result in results])
                for name in results[0].sums
            },
            used=used,
            reasons=[*reasons, *(reason for result in results for reason in result.reasons)],
            where=np.arange(groups.num_points),
            decided=choice.decided(),
        )
