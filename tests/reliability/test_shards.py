"""Shards of a job array: each with a store of its own, merged at any time, in any order, more than once."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from slicer_core.errors import UsageError
from slicer_core.job import Shard


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("num_points", [1, 2, 5, 81, 2601])
def test_shards_have_each_point_once_at_every_turn(num_points: int, count: int) -> None:
    for turn in range(count):
        owned = sorted(
            point
            for index in range(count)
            for low, high in Shard(index=index + 1, count=count).ranges(num_points, turn)
            for point in range(low, high)
        )
        assert owned == list(range(num_points))
        assert sum(Shard(index=index + 1, count=count).has_turn(turn) for index in range(count)) == 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4"])
def test_a_shard_that_can_not_be_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="1 <= I <= N"):
        Shard.parse(text)


def test_shards_merged_early_late_and_twice_are_one_run(
    workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    for index in (3, 1, 4):
        done = long_jobs.run("--shard", f"{index}/4", name="worker")
        assert done.returncode == 0, done.stderr
    early = long_jobs.run(name="merge")
    assert early.returncode == 2
    assert "wait for the shards that are not done" in early.stderr
    assert not list(Path("runs").rglob("*tfevents*"))
    # The last shard is done twice, as where it was sent again to another node, and comes in before others do.
    assert long_jobs.run("--shard", "2/4", name="worker").returncode == 0
    shutil.copy(long_jobs.RUN_DIR / "slices.shard-2-of-4.sqlite", long_jobs.RUN_DIR / "slices.shard-0-of-9.sqlite")
    before = len(Path("evaluated").read_text().splitlines())
    for _ in range(2):
        merged = long_jobs.run(name="merge")
        assert merged.returncode == 0, merged.stderr
        assert long_jobs.arrays() == undisturbed
    # Centers of two checkpoints are compared, and nothing else is evaluated.
    assert len(Path("evaluated").read_text().splitlines()) - before < 60
    again = long_jobs.run("--json")
    assert json.loads(again.stdout)["new"] == 0


def test_a_shard_of_other_data_is_never_mixed_in(workplace: Path, long_jobs: SimpleNamespace) -> None:
    assert long_jobs.run("--shard", "1/2", name="worker").returncode == 0
    assert long_jobs.run("--shard", "2/2", "--set", "scale=1.5", name="worker").returncode == 0
    merged = long_jobs.run(name="merge")
    assert merged.returncode == 2
    assert "lacks" in merged.stderr


def test_a_damaged_shard_does_not_keep_the_others_out(
    workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    for index in (1, 2):
        assert long_jobs.run("-q", "--shard", f"{index}/2", name="worker").returncode == 0
    shard = long_jobs.RUN_DIR / "slices.shard-1-of-2.sqlite"
    with contextlib.closing(sqlite3.connect(shard)) as connection, connection:
        connection.execute(
            "UPDATE tiles SET sums = zeroblob(length(sums)) WHERE checkpoint = (SELECT checkpoint FROM tiles LIMIT 1)"
        )
    for content in (None, b"cut off" * 999, b""):
        if content is not None:
            shard.write_bytes(content)
        merged = long_jobs.run("--json", name="merge")
        assert merged.returncode == 3, merged.stderr
        document = json.loads(merged.stdout)
        (failure,) = document["failures"]
        assert len(document["slices"]) == 1
        assert " lacks " in failure["error"]
        for told in (failure["error"], merged.stderr):
            assert f"{shard} is " in told
            assert "run the worker of that shard again" in told
    shard.unlink()
    assert long_jobs.run("-q", "--shard", "1/2", name="worker").returncode == 0
    merged = long_jobs.run("-q", name="merge")
    assert merged.returncode == 0, merged.stderr
    assert long_jobs.arrays() == undisturbed
