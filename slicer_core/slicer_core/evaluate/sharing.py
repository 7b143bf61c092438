"""Which process evaluates what: each takes the next few points, or the next part of the data, when it is done.

Processes seldom get the same share of a machine, and early layers' blocks cost more than late ones'. Who takes what
does not change a number: points are taken in fixed groups, and a point is evaluated by one process on all batches; sums
over parts of the data are added up in the data's order. Only where processes decide by timing, each for what it runs,
outside of jobs, may last digits depend on it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from slicer_core.evaluate.sums import GROUPS_BYTES, SUMS_BYTES
from slicer_core.plan import PointBlock

# Groups for each process: enough that the last ones to be done are done at about the same time.
_GROUPS = 32
# So many blocks for each process are not divided: one process does what a block needs before its first point, and the
# last block, which another may have to wait for, is a small part of all.
_WHOLE = 8
# So much of the sums of parts may wait for being added up in order.
_PARTS_BYTES = 64 * 2**20


class Groups:
    """The points of some blocks in groups of about the same size, each of one block."""

    def __init__(self, blocks: Sequence[PointBlock], workers: int) -> None:
        self._workers = workers
        counts = [len(block.coefficients) for block in blocks]
        self.firsts = [0, *np.cumsum(counts).tolist()]
        size = max(1.0, sum(counts) / (workers * _GROUPS)) if len(blocks) < _WHOLE * workers else max(1.0, *counts)
        self.of_block = []
        for count in counts:
            step = max(1, -(-count // max(1, round(count / size))))
            self.of_block.append([slice(low, min(low + step, count)) for low in range(0, count, step)])

    @property
    def are_blocks(self) -> bool:
        """Whether each is a whole block."""
        return all(len(groups) == 1 for groups in self.of_block)

    @property
    def blocks_a_worker(self) -> float:
        """About how many blocks' prologues a process runs."""
        return min(len(self.of_block), sum(map(len, self.of_block)) / self._workers)

    @property
    def num_points(self) -> int:
        """Of all blocks."""
        return self.firsts[-1]

    def indices(self, block: int, group: slice) -> np.ndarray:
        """The group's points among those of all blocks."""
        return np.arange(self.firsts[block] + group.start, self.firsts[block] + group.stop)

    def without(self, done: Sequence[np.ndarray]) -> dict[int, list[slice]]:
        """The groups, by block, whose points are not among those of `done`."""
        is_done = np.zeros(self.num_points, dtype=bool)
        for indices in done:
            is_done[indices] = True
        missing = {
            block: [group for group in groups if not is_done[self.indices(block, group)].all()]
            for block, groups in enumerate(self.of_block)
        }
        return {block: groups for block, groups in missing.items() if groups}


def parts_pay(num_parts: int, num_points: int, points_before: float, workers: int) -> bool:
    """Whether the processes had better share the parts of the data than the points.

    Who has all points of a part is alone in doing what goes before its first point, which takes as long as so many
    points; but parts are few, and each of them has to be kept by itself until all are done, see `PointSums.added`.
    """
    if num_parts * num_points * (SUMS_BYTES + GROUPS_BYTES) > _PARTS_BYTES:
        return False
    rounds = -(-num_parts // workers)
    return rounds * (num_points + points_before) < num_parts * (num_points / workers + points_before)


class SharedProgress:
    """What one process tells of all, which it takes to be as fast as itself."""

    def __init__(self, num_points: int, workers: int, advance: Callable[[float], None] | None) -> None:
        self._left = float(num_points)
        self._workers = workers
        self._advance = advance

    def __call__(self, points: float) -> None:
        """For so many points of its own."""
        self._tell(min(points * self._workers, self._left))

    def finish(self) -> None:
        """All are done."""
        self._tell(self._left)

    def _tell(self, points: float) -> None:
        self._left -= points
        # Even of no points: it is where a stop comes through.
        if self._advance is not None:
            self._advance(points)


class Taken:
    """What one process has of the groups: asked for in the order of blocks, on the first batch and on all others.

    `tickets` is shared by all processes; None gives this one everything that `only` lists, by block.
    """

    def __init__(self, groups: Groups, tickets: Tickets | None, only: dict[int, list[slice]] | None = None) -> None:
        self._groups = groups
        self._tickets = tickets
        self._next = -1 if tickets is None else tickets.take()
        self._number = 0
        self.own: dict[int, list[slice]] = only or {}
        self._is_open = tickets is not None

    def of_block(self, block: int) -> Iterator[slice]:
        """The ranges of the block's points that are this process's."""
        if block in self.own or not self._is_open:
            yield from self.own.get(block, ())
            return
        assert self._tickets is not None
        own: list[slice] = []
        for group in self._groups.of_block[block]:
            if self._number == self._next:
                own.append(group)
                yield group
                self._next = self._tickets.take()
            self._number += 1
        self.own[block] = own

    @property
    def indices(self) -> np.ndarray:
        """This process's points among those of all blocks."""
        parts = [self._groups.indices(block, group) for block, own in self.own.items() for group in own]
        return np.concatenate(parts) if parts else np.arange(0)


class TakenParts:
    """The parts of the data that one process has, by number, asked for in their order.

    `tickets` is shared by all processes; None gives this one all of `only`.
    """

    def __init__(self, tickets: Tickets | None, only: Collection[int] = ()) -> None:
        self._tickets = tickets
        self._only = only
        self._next = -1

    def __contains__(self, number: object) -> bool:
        if self._tickets is None:
            return number in self._only
        assert isinstance(number, int)
        if self._next < number:
            self._next = self._tickets.take()
        return number == self._next


class Tickets:
    """Numbers from 0 on, each of which one process gets; for those that are forked after it was made."""

    def __init__(self) -> None:
        # The lock of a process that dies is let go by the system.
        self._file = os.memfd_create("tickets")
        os.pwrite(self._file, bytes(8), 0)

    def take(self) -> int:
        """The next number."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            number = int.from_bytes(os.pread(self._file, 8, 0), "little")
            os.pwrite(self._file, (number + 1).to_bytes(8, "little"), 0)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
        return number

    def close(self) -> None:
        """For the last process that knows it."""
        os.close(self._file)
