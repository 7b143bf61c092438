"""What `auto` chooses between, and how one came out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

PREPARING = ("partial", "partial-winograd", "partial-native")
"""The strategies that are tried first, of which one captures for all."""

# How many times as long as a point the loop takes, where no trial tells, and how long a prologue.
_USUAL_GAIN = 4.0
_PROLOGUE_POINTS = 3.0


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A strategy with the samples a part of a batch has, and the processes that share the points."""

    strategy: str
    part_size: int = sys.maxsize
    workers: int = 1

    @property
    def is_compiled(self) -> bool:
        """Whether it is compiled by `torch.compile`."""
        return self.strategy.endswith("-compiled")

    @property
    def is_recorded(self) -> bool:
        """Whether it is recorded, which not every device can do; see `RECORDERS`."""
        return self.strategy.endswith("-cudagraph")

    @property
    def label(self) -> str:
        """As it stands in a result."""
        part = "" if self.part_size == sys.maxsize else f", parts of {self.part_size}"
        return f"{self.strategy}{part}" + (f", {self.workers} workers" if self.workers > 1 else "")

    @property
    def label_of_one(self) -> str:
        """As the time of one process of one thread stands, where no more were started for a trial."""
        return f"{replace(self, workers=1).label}, one {f'of {self.workers} workers' if self.workers > 1 else 'thread'}"

    def seconds(self, timings: Mapping[str, float]) -> float | None:
        """What trials say of a point: of all processes together, or as if each went on as fast as one alone."""
        if self.label in timings:
            return timings[self.label]
        own = timings.get(self.label_of_one)
        return None if own is None else own / self.workers

    def points_before(self, timings: Mapping[str, float]) -> float:
        """About how many points' time goes by on a part of the data before its first: center, check and prologue."""
        if self.strategy == "loop":
            return 1.0
        loop, own = timings.get("loop"), self.seconds(timings)
        passes = _USUAL_GAIN if loop is None or own is None else loop / (own * self.workers)
        return 2 * passes + _PROLOGUE_POINTS

    def to_tuple(self) -> tuple[str, int | None, int]:
        """As it is kept among the `Decisions`."""
        return self.strategy, None if self.part_size == sys.maxsize else self.part_size, self.workers

    @classmethod
    def from_tuple(cls, kept: tuple[str, int | None, int], *, max_workers: int) -> Candidate:
        """What `to_tuple` gave, with at most so many processes."""
        strategy, part_size, workers = kept
        return cls(strategy=strategy, part_size=part_size or sys.maxsize, workers=min(workers, max_workers))


class Outcome(NamedTuple):
    """A candidate with the seconds of a point of the batch, of a prologue, and of the whole job."""

    candidate: Candidate
    point: float
    prologue: float
    total: float


class Outcomes(dict[str, Outcome]):
    """The best of each strategy that was tried, by its name."""

    def note(self, outcome: Outcome) -> None:
        """Adds one, if it is better."""
        known = self.get(outcome.candidate.strategy)
        if known is None or outcome.total < known.total:
            self[outcome.candidate.strategy] = outcome

    def best(self) -> Outcome | None:
        """Of all."""
        return min(self.values(), key=lambda outcome: outcome.total, default=None)

    def prologue(self, candidate: Candidate, seconds: float) -> float:
        """That of the candidate; strategies that capture alike do the same before a point."""
        alike = [
            outcome.prologue
            for name, outcome in self.items()
            if {name, candidate.strategy} <= {*PREPARING} and outcome.candidate.part_size == candidate.part_size
        ]
        return min([seconds, *alike])

    def rival(self, candidate: Candidate) -> Outcome | None:
        """What operations in C are timed beside: the best of those that capture alike, of the same parts and processes.

        They differ by less than what a machine that others use too does from one moment to the next.
        """
        known = self.best()
        if known is None or candidate.strategy != "partial-native" or known.candidate.strategy not in PREPARING:
            return None
        return known if replace(known.candidate, strategy=candidate.strategy) == candidate else None
