"""Whatever happens to a run: the same command goes on, nothing is evaluated twice, and no number is another one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from command_process import CommandProcess
from slicer_core.evaluate import PointSums

NUM_KILLS = 20


def committed(long_jobs: SimpleNamespace) -> int:
    return len(long_jobs.tiles()) if long_jobs.STORE.exists() else 0


def wait_for_tiles(long_jobs: SimpleNamespace, process: CommandProcess, count: int) -> None:
    while process.poll() is None:
        try:
            if committed(long_jobs) >= count:
                return
        except sqlite3.Error:
            pass
        time.sleep(0.01)


def committed_sums() -> set[str]:
    """The loss of every committed point but those at a center, which each start evaluates anew."""
    if not Path("runs/sgd/loss_slicer/slices.sqlite").exists():
        return set()
    connection = sqlite3.connect("file:runs/sgd/loss_slicer/slices.sqlite?mode=ro", uri=True)
    found = [PointSums.from_bytes(sums) for (sums,) in connection.execute("SELECT sums FROM tiles")]
    connection.close()
    centers = {f"{sums.center_total:.9g}" for sums in found}
    # Points without a number can't be told from one another.
    return {f"{total:.9g}" for sums in found for total in sums.total} - centers - {"nan"}


def evaluated_sums(since: int) -> list[str]:
    """What the loss wrote down of its calls after so many."""
    lines = Path("evaluated").read_text().splitlines() if Path("evaluated").exists() else []
    return [f"{float(line.split()[1]):.9g}" for line in lines[since:]]


def test_after_twenty_kills_the_sums_are_those_of_a_run_without_and_no_committed_tile_was_computed_twice(
    workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    chance = random.Random(8)
    kills, again = 0, []

    def started(process: CommandProcess) -> None:
        nonlocal kills
        before, calls = committed_sums(), len(evaluated_sums(0))
        wait_for_tiles(long_jobs, process, committed(long_jobs) + chance.choice((0, 1, 1, 2)))
        time.sleep(chance.random() * 0.15)
        process.kill()
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors
        kills += process.returncode != 0
        again.extend(name for name in evaluated_sums(calls) if name in before)

    for _ in range(NUM_KILLS):
        started(long_jobs.start("-q", SLOW="0.02"))
    before, calls = committed_sums(), len(evaluated_sums(0))
    done = long_jobs.run("-q")
    assert done.returncode == 0, done.stderr
    again += [name for name in evaluated_sums(calls) if name in before]
    assert again == []
    assert kills >= NUM_KILLS - 4, "the job was too short to be killed so often"
    assert len(before) > 20
    assert long_jobs.arrays() == undisturbed


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 75), ("SIGINT", 130)])
def test_a_stop_commits_writes_what_is_complete_and_can_be_gone_on_from(
    number: str, status: int, workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    process = long_jobs.start("--workers", "2", SLOW="0.02")
    wait_for_tiles(long_jobs, process, 8)
    if number == "SIGINT":
        # A terminal's Ctrl-C goes to the workers too.
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(getattr(signal, number))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    assert "the same command goes on from there" in errors
    there = committed(long_jobs)
    assert there >= 8
    assert long_jobs.run("-q").returncode == 0
    assert long_jobs.arrays() == undisturbed


def test_a_truncated_event_file_is_made_again_at_any_byte(workplace: Path, long_jobs: SimpleNamespace) -> None:
    assert long_jobs.run("-q").returncode == 0
    whole = long_jobs.arrays()
    for part in (0.02, 0.3, 0.77, 0.999):
        (file,) = (path for path in long_jobs.RUN_DIR.glob("*tfevents*") if path.stat().st_size)
        os.truncate(file, int(part * file.stat().st_size))
        done = long_jobs.call("rebuild", "runs")
        assert done.returncode == 0, done.stderr
        assert "made again" in done.stdout
        assert long_jobs.arrays() == whole
    done = long_jobs.call("rebuild", "runs")
    assert done.returncode == 0, done.stderr
    assert "was whole" in done.stdout


def test_a_corrupted_store_is_named_and_never_gives_wrong_numbers(
    workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    assert long_jobs.run("-q").returncode == 0
    data = bytearray(long_jobs.STORE.read_bytes())
    for start_of_page in range(4096, len(data), 3 * 4096):
        data[start_of_page : start_of_page + 600] = b"\xee" * 600
    long_jobs.STORE.write_bytes(bytes(data))
    done = long_jobs.run("--seed", "0")
    assert done.returncode == 2
    assert "slices.sqlite" in done.stderr
    assert "--fresh" in done.stderr
    status = long_jobs.call("status", "runs", "--json")
    assert status.returncode == 3
    assert json.loads(status.stdout)["stores"][0]["fault"]
    plain = long_jobs.call("status", "runs")
    assert "  fault: " in plain.stdout
    fresh = long_jobs.run("--fresh")
    assert fresh.returncode == 0, fresh.stderr
    assert "kept aside" in fresh.stderr
    assert long_jobs.arrays() == undisturbed


def test_a_second_run_is_told_who_is_at_work_and_so_is_status(workplace: Path, long_jobs: SimpleNamespace) -> None:
    process = long_jobs.start("-q", SLOW="0.3")
    try:
        wait_for_tiles(long_jobs, process, 2)
        second = long_jobs.run()
        assert second.returncode == 2
        assert f"process {process.pid} on " in second.stderr
        status = long_jobs.call("status", "runs")
        assert f"at work: process {process.pid}" in status.stdout
        assert "of the points" in status.stdout
    finally:
        process.kill()
        process.communicate()
    # Its note is left behind, and is known to be stale.
    status = long_jobs.call("status", "runs")
    assert "nobody is at work" in status.stdout
    sizes = [path.stat().st_size for path in long_jobs.RUN_DIR.glob("slices.sqlite*") if path.suffix != ".sqlite-shm"]
    as_json = long_jobs.call("status", "runs", "--json")
    assert as_json.returncode == 0, as_json.stderr
    assert json.loads(as_json.stdout)["stores"][0]["num_bytes"] in range(max(sizes), sum(sizes) + 1)
    assert long_jobs.run("-q").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs to mount a small disk")
def test_a_full_disk_stops_the_run_with_the_store_intact(
    workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    Path("runs").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", "runs"], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        full = long_jobs.run()
        assert full.returncode in (2, 3), full.stderr
        assert "Traceback" not in full.stderr
        assert "its disk has room" in full.stderr
        subprocess.run(["mount", "-o", "remount,size=16m", "runs"], check=True)
        assert long_jobs.run("-q").returncode == 0
        assert long_jobs.arrays() == undisturbed
    finally:
        subprocess.run(["umount", "runs"], check=True)
