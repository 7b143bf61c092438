"""How long a whole job takes, from the time of a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slicer_core.evaluate.candidate import Candidate
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.sharing import Groups, parts_pay
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch

FORK_SECONDS = 0.05
"""What starting processes costs, a fork and the prologue in each."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All points of the blocks, on so many batches like one in each of the slices."""

    objective: Objective
    batch: Batch
    blocks: Sequence[PointBlock]
    batches: float
    slices: int

    @property
    def points(self) -> int:
        """Of a slice."""
        return sum(len(block.coefficients) for block in self.blocks)

    def seconds(self, candidate: Candidate, *, point: float, prologue: float, in_loop: float) -> float:
        """Of the whole job, from the seconds of a point of the batch, of a prologue, and of a point in the loop."""
        before = self._before(candidate, point, prologue, in_loop)
        a_slice = (before + point * self.points) * self.batches
        return self.slices * (a_slice + (FORK_SECONDS if candidate.workers > 1 else 0.0))

    def _before(self, candidate: Candidate, point: float, prologue: float, in_loop: float) -> float:
        """Seconds of a batch that go by before the points: prologues, and the check, a point of its own and the loop's.

        A process does all of it, but where it is alone with its parts of the data.
        """
        own = point * candidate.workers
        check = 0.0 if candidate.strategy == "loop" else own + in_loop
        if candidate.workers > 1 and self.objective.sums_over_samples:
            samples = self.batch.num_samples
            parts = max(1, round(self.batches * -(-samples // min(candidate.part_size, samples))))
            alone = prologue * len(self.blocks) + check
            if parts_pay(parts, self.points, alone / own, candidate.workers):
                return alone / candidate.workers
        return prologue * Groups(self.blocks, candidate.workers).blocks_a_worker + check
