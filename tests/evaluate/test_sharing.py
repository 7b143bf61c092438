"""Points and parts of the data that processes take from one another: each once."""

from __future__ import annotations

import os

import numpy as np
import pytest

from slicer_core.evaluate.sharing import Groups, SharedProgress, Taken, TakenParts, Tickets, parts_pay
from slicer_core.plan import PointBlock


def block(count: int) -> PointBlock:
    return PointBlock(directions=tuple, coefficients=np.zeros((count, 1)))


@pytest.mark.parametrize("counts", [[1], [7], [64, 1, 300], [3] * 200])
def test_each_point_is_taken_once_whoever_is_faster(counts: list[int]) -> None:
    groups, tickets = Groups([block(count) for count in counts], 2), Tickets()
    fast, slow = Taken(groups, tickets), Taken(groups, tickets)
    # The slow one is held up in its first group while the fast one goes on.
    held = [
        (number, part) for number in range(len(counts)) for part in slow.of_block(number) if not drain(fast, counts)
    ]
    drain(fast, counts)
    done = np.concatenate([fast.indices, slow.indices])
    assert sorted(done.tolist()) == list(range(sum(counts)))
    assert groups.without([done]) == {}
    again = [(number, part) for number in range(len(counts)) for part in slow.of_block(number)]
    assert again == held
    tickets.close()


def drain(taken: Taken, counts: list[int]) -> int:
    """Takes all that is left; nothing but that on a first batch."""
    if not taken.own:
        for number in range(len(counts)):
            list(taken.of_block(number))
    return 0


def test_many_blocks_are_taken_whole_and_few_in_parts() -> None:
    many, few = Groups([block(51)] * 60, 2), Groups([block(640), block(64)], 2)
    assert {len(parts) for parts in many.of_block} == {1}
    assert many.are_blocks
    assert many.blocks_a_worker == 30
    assert [len(parts) for parts in few.of_block] == [54, 6]
    assert not few.are_blocks
    layers, fewer = Groups([block(51)] * 16, 2), Groups([block(51)] * 15, 2)
    assert layers.are_blocks
    assert not fewer.are_blocks
    assert few.blocks_a_worker == 2


def test_what_a_process_took_that_is_gone_is_missing() -> None:
    groups, tickets = Groups([block(10), block(3)], 2), Tickets()
    gone, left = Taken(groups, tickets), Taken(groups, tickets)
    next(iter(gone.of_block(0)))
    for number in range(2):
        list(left.of_block(number))
    missing = groups.without([left.indices])
    assert missing == {0: [slice(0, 1)]}
    rest = Taken(groups, None, missing)
    assert [list(rest.of_block(number)) for number in range(2)] == [[slice(0, 1)], []]
    assert rest.indices.tolist() == [0]
    tickets.close()


def test_each_part_of_the_data_is_taken_once_whoever_is_faster() -> None:
    tickets = Tickets()
    fast, slow = TakenParts(tickets), TakenParts(tickets)
    assert 0 in slow
    assert [number for number in range(5) if number in fast] == [1, 2, 3, 4]
    assert [number for number in range(1, 5) if number in slow] == []
    rest = TakenParts(None, [0])
    assert [number for number in range(5) if number in rest] == [0]
    tickets.close()


@pytest.mark.parametrize(
    ("parts", "points", "before", "pays"),
    [
        # One part is for one process.
        (1, 51, 10.0, False),
        # As many parts for each.
        (4, 51, 10.0, True),
        (4, 2601, 10.0, True),
        # One process would have three of five while the other waits: it pays where a part's beginning is most of it.
        (5, 2601, 10.0, False),
        (5, 10, 10.0, True),
        (101, 601, 10.0, True),
        # Too many sums would wait for one another.
        (10_000, 2601, 10.0, False),
    ],
)
def test_processes_share_the_data_where_they_are_done_sooner(
    parts: int, points: int, before: float, *, pays: bool
) -> None:
    assert parts_pay(parts, points, before, 2) is pays


def test_a_ticket_is_given_once_among_processes_and_the_dead_keep_no_lock() -> None:
    tickets = Tickets()
    reader, writer = os.pipe()
    children = []
    for dies in (True, False, False):
        pid = os.fork()
        if pid == 0:
            for _ in range(200):
                os.write(writer, tickets.take().to_bytes(8, "little"))
            if dies:
                import fcntl

                fcntl.lockf(tickets._file, fcntl.LOCK_EX)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    os.close(writer)
    with open(reader, "rb") as stream:
        data = stream.read()
    taken = [int.from_bytes(data[start : start + 8], "little") for start in range(0, len(data), 8)]
    assert sorted(taken) == list(range(600))
    assert tickets.take() == 600
    tickets.close()


def test_progress_of_one_process_stands_for_all_and_ends_at_the_number_of_points() -> None:
    told: list[float] = []
    report = SharedProgress(10, 3, told.append)
    for points in (1, 2, 1):
        report(points)
    report.finish()
    assert told == [3, 6, 1, 0]
