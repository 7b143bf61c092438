from __future__ import annotations

import contextlib
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slicer_core.errors import StoreError, StoreUnavailableError
from slicer_core.job.aside import move_aside_if_damaged
from slicer_core.store import FILE_NAME, Store, StoredSlice, StoredTile, TileKey

KEY = TileKey(job="job", checkpoint="print", tile="points", split="train")
TILE = StoredTile(sums={"loss": bytes(range(256)) * 40, "accuracy": b"\0\xff" * 9}, how={"strategy": "loop", "n": 3})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / FILE_NAME


def stored_slice(step: int = 5, *, tag: str = "random2d", job: str = "job", body: bytes = b"header") -> StoredSlice:
    return StoredSlice(
        tag=tag, step=step, job=job, checkpoint="print", wall_time=12.5, blobs=[body, b"", b"\1\2" * 300]
    )


def fill(path: Path) -> None:
    with Store(path) as store:
        store.add_job("job", {"grid": [5, 3]})
        store.put_tile(KEY, TILE)
        store.put_slice(stored_slice())


def change(path: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(path) as connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


def test_a_tile_comes_back_in_another_process_of_the_file(path) -> None:
    fill(path)
    with Store(path) as store:
        assert store.tile(KEY) == TILE
        for other in ({"job": "x"}, {"checkpoint": "x"}, {"tile": "x"}, {"split": "test"}):
            assert store.tile(TileKey(**(vars(KEY) | other))) is None


def test_a_tile_that_is_put_again_replaces_the_first(path) -> None:
    fill(path)
    with Store(path) as store:
        store.put_tile(KEY, StoredTile(sums={"loss": b"new", "accuracy": b""}, how={}))
        found = store.tile(KEY)
    assert found == StoredTile(sums={"loss": b"new", "accuracy": b""}, how={})


@pytest.mark.parametrize(
    ("table", "column", "read"),
    [
        ("tiles", "sums", lambda store: store.tile(KEY)),
        ("tiles", "how", lambda store: store.tile(KEY)),
        ("slices", "blobs", lambda store: store.slice("random2d", 5)),
        ("slices", "sizes", lambda store: list(store.slices())),
    ],
)
def test_a_changed_byte_of_what_is_kept_is_found(table, column, read: Callable[[Store], object], path) -> None:
    fill(path)
    with sqlite3.connect(path) as connection:
        (value,) = connection.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()
    connection.close()
    changed = value[:4] + (b"!" if isinstance(value, bytes) else "!") + value[5:]
    change(path, f"UPDATE {table} SET {column} = ? WHERE {column} = ?", changed, value)
    with Store(path) as store, pytest.raises(StoreError, match=r"damaged: the checksum of .* --fresh"):
        read(store)


def test_a_byte_that_is_flipped_in_the_file_is_found(path) -> None:
    fill(path)
    data = bytearray(path.read_bytes())
    at = bytes(data).index(bytes(range(100, 200)))
    data[at] ^= 1
    path.write_bytes(bytes(data))
    with Store(path) as store, pytest.raises(StoreError, match="checksum of tile points"):
        store.tile(KEY)


def test_a_file_whose_pages_are_overwritten_gives_what_was_stored_or_a_store_error(path) -> None:
    fill(path)
    data, found = path.read_bytes(), []
    for start in range(0, len(data), 1024):
        path.write_bytes(data[:start] + b"\xee" * 1024 + data[start + 1024 :])
        try:
            with Store(path) as store:
                assert store.tile(KEY) in (TILE, None)
                assert list(store.slices()) in ([stored_slice()], [])
                store.put_tile(KEY, TILE)
        except StoreError as error:
            found.append(str(error))
    assert len(found) > 3


def test_a_newer_version_is_refused_and_left_alone(path) -> None:
    fill(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"format 2, this one reads 1\): update"):
        Store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [0, 1, 7])
def test_an_sqlite_file_of_another_program_is_refused_and_left_alone(version, tmp_path) -> None:
    path = tmp_path / FILE_NAME
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="of another program"):
        Store(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_sqlite_is_refused_and_left_alone(tmp_path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreError, match="is not a store, or is damaged"):
        Store(path)
    assert path.read_bytes() == b"something else entirely" * 100


@pytest.mark.parametrize(
    "name, remedy",
    [(FILE_NAME, "Run again with --fresh"), ("slices.shard-1-of-2.sqlite", "Remove it, and run the worker")],
)
def test_what_helps_where_a_store_is_damaged_goes_by_whose_it_is(name: str, remedy: str, tmp_path: Path) -> None:
    fill(tmp_path / name)
    change(tmp_path / name, "UPDATE slices SET crc = crc + 1")
    with Store(tmp_path / name, reading=True) as store, pytest.raises(StoreError, match=remedy):
        store.slice("random2d", 5)
    (tmp_path / name).write_bytes(b"not a store, but long enough to be a page of one" * 40)
    with pytest.raises(StoreError, match=remedy):
        Store(tmp_path / name, reading=True)


def test_a_place_that_can_not_be_written_is_a_store_error(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be opened"):
        Store(tmp_path / "file" / FILE_NAME)
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(StoreError):
        Store(tmp_path / FILE_NAME)


def test_a_store_in_a_folder_that_can_not_be_written_is_read_without_a_file_beside_it(path, monkeypatch) -> None:
    fill(path)
    monkeypatch.setattr("os.access", lambda place, mode: Path(place) != path.parent)
    with Store(path, reading=True) as store:
        assert [there.step for there in store.slices()] == [5]
        assert store.tile(KEY) == TILE
        assert list(path.parent.iterdir()) == [path]


def test_a_store_whose_making_was_cut_short_is_made_whole_by_the_next_run(tmp_path) -> None:
    """By a full disk here; a kill leaves the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    failed = 0
    for limit in range(1024, 64 * 1024, 2048):
        path = tmp_path / str(limit) / FILE_NAME
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            Store(path).close()
        except StoreError:
            failed += 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        fill(path)
        with Store(path) as store:
            assert store.tile(KEY) == TILE
    assert failed > 3


@contextlib.contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """As a disk without room, for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 1024])
def test_a_store_that_can_not_be_written_is_not_taken_for_a_damaged_one(room: int, path) -> None:
    fill(path)
    for _ in range(2):
        with files_of_at_most(room), pytest.raises(StoreUnavailableError, match="see that its disk has room"):
            move_aside_if_damaged(path)
    with Store(path) as store:
        assert store.tile(KEY) == TILE
        assert {file.name.partition("-")[0] for file in path.parent.iterdir()} == {FILE_NAME, FILE_NAME + ".lock"}


def test_of_a_copy_that_has_no_room_nothing_is_left(path) -> None:
    fill(path)
    aside = path.with_name("aside.sqlite")
    with Store(path) as store:
        with files_of_at_most(8192), pytest.raises(StoreUnavailableError, match="see that its disk has room"):
            store.copy_to(aside)
        assert not aside.exists()


def test_a_second_opener_is_told_and_the_first_goes_on(path) -> None:
    with Store(path) as first:
        with pytest.raises(StoreError, match="in use by another run"):
            Store(path)
        first.put_tile(KEY, TILE)
        assert first.tile(KEY) == TILE
    with Store(path) as store:
        assert store.tile(KEY) == TILE


def test_a_second_process_is_told_too(path) -> None:
    code = "import sys, pathlib; from slicer_core.store import Store; Store(pathlib.Path(sys.argv[1]))"
    with Store(path):
        found = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "StoreUnavailableError" in found.stderr
    assert "in use by another run" in found.stderr


def test_a_store_that_was_moved_takes_nothing_more_and_leaves_the_next_one_alone(path) -> None:
    """The next one is of a process that lets go of nothing."""
    code = """
import os, pathlib, sys
from slicer_core.store import Store
Store(pathlib.Path(sys.argv[1]))
os._exit(0)
"""
    fill(path)
    with Store(path) as store:
        moved = path.parent.rename(path.parent.with_name("moved"))
        with pytest.raises(StoreError, match="was moved or removed while this run was at work"):
            store.put_tile(KEY, TILE)
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        lock = path.with_name(path.name + ".lock").read_bytes()
        with pytest.raises(StoreError, match="was moved or removed while this run was at work"):
            store.put_slice(stored_slice(6))
    assert path.with_name(path.name + ".lock").read_bytes() == lock
    for place, steps in ((moved / FILE_NAME, [5]), (path, [])):
        with Store(place) as store:
            assert [there.step for there in store.slices()] == steps


def test_a_refused_file_is_not_kept_open(path) -> None:
    fill(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StoreError) as caught:
        Store(path)
    change(path, "UPDATE slices SET step = 6")
    assert caught.value is not None


def test_what_was_committed_before_a_kill_is_there_afterwards(path) -> None:
    """The process ends itself in the middle of a transaction, without closing anything."""
    code = """
import os, pathlib, sys
from slicer_core.store import Store, StoredTile, TileKey
store = Store(pathlib.Path(sys.argv[1]))
tile = StoredTile(sums={"loss": b"x" * 500}, how={})
for number in range(20):
    store.put_tile(TileKey(job="job", checkpoint="print", tile=str(number), split="train"), tile)
store._connection.execute("BEGIN IMMEDIATE")
store._connection.execute("DELETE FROM tiles")
os.kill(os.getpid(), 9)
"""
    found = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert found.returncode == -9
    with Store(path) as store:
        for number in range(20):
            assert store.tile(TileKey(job="job", checkpoint="print", tile=str(number), split="train")) is not None


def test_slices_come_back_by_tag_and_step(path) -> None:
    with Store(path) as store:
        for step in (30, 10, 20):
            store.put_slice(stored_slice(step))
        store.put_slice(stored_slice(5, tag="linear"))
        assert [(found.tag, found.step) for found in store.slices()] == [
            ("linear", 5), ("random2d", 10), ("random2d", 20), ("random2d", 30)
        ]  # fmt: skip
        assert store.slice("random2d", 20) == stored_slice(20)
        assert store.slice("random2d", 21) is None
        assert store.slice("axis", 20) is None


def test_putting_a_slice_says_whether_it_only_adds(path) -> None:
    with Store(path) as store:
        assert store.put_slice(stored_slice(10)) is True
        assert store.put_slice(stored_slice(20)) is True
        assert store.put_slice(stored_slice(15)) is False, "a later step is there"
        assert store.put_slice(stored_slice(20)) is False, "the step was there"
        assert store.put_slice(stored_slice(20, tag="linear")) is True, "another tag"
        assert store.put_slice(stored_slice(30, job="other")) is False, "the other job's slices went"
        assert [found.step for found in store.slices() if found.tag == "random2d"] == [30]
        assert store.put_slice(stored_slice(40, job="other")) is True
        assert [found.step for found in store.slices() if found.tag == "linear"] == [20]


def test_a_job_that_takes_a_tag_leaves_the_tiles_of_the_one_before(path) -> None:
    fill(path)
    with Store(path) as store:
        store.put_slice(stored_slice(5, job="other"))
        assert store.tile(KEY) == TILE


def test_a_tile_with_one_metric_that_fails_leaves_nothing_behind(path) -> None:
    with Store(path) as store:
        with pytest.raises(StoreError):
            store.put_tile(KEY, StoredTile(sums={"loss": b"1", ("no", "text"): b"2"}, how={}))
        assert store.tile(KEY) is None
        store.put_tile(KEY, TILE)
        assert store.tile(KEY) == TILE


def test_the_configuration_of_a_job_is_kept_once(path) -> None:
    with Store(path) as store:
        store.add_job("job", {"grid": 5})
        store.add_job("job", {"grid": 5})
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT job, config FROM jobs").fetchall() == [("job", '{"grid": 5}')]
    connection.close()
