"""The file of finished work: tiles as float64 sums, and the slices made of them. SQLite, one writer, checksums.

A tile's key is (job, checkpoint, tile, split, metric); its payload is bytes to this module. Slices are kept beside
them by (tag, step), so that event files, which are only a view, can be made again at any time.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from slicer_core.errors import StoreError, StoreUnavailableError
from slicer_core.store.filesystem import is_on_network
from slicer_core.store.lock import StoreLock

FILE_NAME = "slices.sqlite"
VERSION = 1
_BUSY_SECONDS = 10.0
# Tells our files from those of other programs, which count their own versions from 1 too.
_APPLICATION = 0x4C53_4C43

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Of a disk that is damaged itself.
_UNREADABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (job TEXT PRIMARY KEY, config TEXT NOT NULL, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS tiles (
    job TEXT NOT NULL, checkpoint TEXT NOT NULL, tile TEXT NOT NULL, split TEXT NOT NULL, metric TEXT NOT NULL,
    sums BLOB NOT NULL, crc INTEGER NOT NULL, how TEXT NOT NULL, created REAL NOT NULL,
    PRIMARY KEY (job, checkpoint, tile, split, metric)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (
    job TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (job, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slices (
    tag TEXT NOT NULL, step INTEGER NOT NULL, job TEXT NOT NULL, checkpoint TEXT NOT NULL, wall_time REAL NOT NULL,
    blobs BLOB NOT NULL, sizes TEXT NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (tag, step)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True)
class TileKey:
    """One tile: a range of points of one checkpoint on one split."""

    job: str
    checkpoint: str
    tile: str
    split: str


@dataclass(frozen=True, kw_only=True)
class StoredTile:
    """Payloads by metric, and how they were computed (JSON values)."""

    sums: Mapping[str, bytes]
    how: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StoredSlice:
    """An encoded slice as it is logged: header and arrays."""

    tag: str
    step: int
    job: str
    checkpoint: str
    wall_time: float
    blobs: Sequence[bytes]


class Store:
    """An open store. Only one process at a time may have it; a second one is told by whom.

    `reading`: nothing is written, so that it may be open elsewhere.

    Raises:
        StoreError: the file is another program's, a newer version's, or damaged.
        StoreUnavailableError: it is in use, or can't be written.
    """

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        self.path = path
        # The user's code may go to another folder.
        self._place = path.absolute()
        self._lock: StoreLock | None = None
        try:
            if not reading:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = StoreLock(path)
            place = f"file:{quote(str(path.absolute()))}?mode={_reading_mode(path) if reading else 'rwc'}"
            self._connection = sqlite3.connect(place, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
        except (OSError, sqlite3.Error) as error:
            self._unlock()
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise StoreUnavailableError(_no_room(path, error.strerror)) from error
            raise StoreError(f"{path} can't be opened: {error}") from error
        try:
            with self._telling():
                is_empty = self._check_version()
                if not reading:
                    self._open()
                elif is_empty:
                    # As a copy that had no room leaves it.
                    raise StoreError(f"{path} is empty. {self._remedy()}")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Releases the file."""
        self._connection.close()
        self._unlock()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_job(self, job: str, config: Mapping[str, Any]) -> None:
        """Keeps the configuration of a job beside its hash; of several, which differ in names only, the last."""
        row = (job, json.dumps(config, sort_keys=True), time.time())
        with self._telling():
            self._connection.execute(
                "INSERT INTO jobs VALUES (?, ?, ?) "
                "ON CONFLICT (job) DO UPDATE SET config = excluded.config WHERE config != excluded.config",
                row,
            )

    def tile(self, key: TileKey) -> StoredTile | None:
        """The tile's payloads, or None where it is not done.

        Raises:
            StoreError: a payload's checksum does not fit.
        """
        with self._telling():
            rows = self._connection.execute(
                "SELECT metric, sums, crc, how FROM tiles WHERE job = ? AND checkpoint = ? AND tile = ? AND split = ?",
                (key.job, key.checkpoint, key.tile, key.split),
            ).fetchall()
        if not rows:
            return None
        for metric, sums, crc, how in rows:
            self._verify(_checksum(sums, how), crc, f"tile {key.tile} ({key.split}, {metric})")
        return StoredTile(sums={metric: sums for metric, sums, _, _ in rows}, how=json.loads(rows[0][3]))

    def jobs(self) -> dict[str, dict[str, Any]]:
        """The configuration of each job by its name."""
        with self._telling():
            rows = self._connection.execute("SELECT job, config FROM jobs ORDER BY created, job").fetchall()
        return {job: json.loads(config) for job, config in rows}

    def checkpoints(self, job: str) -> list[str]:
        """The fingerprints of checkpoints of which there are tiles."""
        with self._telling():
            rows = self._connection.execute("SELECT DISTINCT checkpoint FROM tiles WHERE job = ?", (job,)).fetchall()
        return [checkpoint for (checkpoint,) in rows]

    def faults(self) -> list[str]:
        """What SQLite finds wrong with the file's pages; empty where nothing is."""
        with self._telling():
            rows = self._connection.execute("PRAGMA quick_check(10)").fetchall()
        return [text for (text,) in rows if text != "ok"]

    def tile_names(self, job: str, checkpoint: str) -> list[tuple[str, str]]:
        """(split, tile) of all that is done of a checkpoint, in a fixed order."""
        with self._telling():
            return self._connection.execute(
                "SELECT DISTINCT split, tile FROM tiles WHERE job = ? AND checkpoint = ? ORDER BY split, tile",
                (job, checkpoint),
            ).fetchall()

    def note(self, job: str, name: str) -> Any:
        """What `put_note` kept of a job under the name, None where there is nothing.

        Raises:
            StoreError: its checksum does not fit.
        """
        with self._telling():
            row = self._connection.execute(
                "SELECT body, crc FROM notes WHERE job = ? AND name = ?", (job, name)
            ).fetchone()
        if row is None:
            return None
        self._verify(_checksum(b"", row[0]), row[1], f"note {name}")
        return json.loads(row[0])

    def put_note(self, job: str, name: str, value: Any) -> None:
        """Keeps a JSON value of a job, in place of the one before."""
        body = json.dumps(value)
        with self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?)", (job, name, body, _checksum(b"", body))
            )

    def put_tile(self, key: TileKey, tile: StoredTile) -> None:
        """All metrics of the tile in one transaction."""
        self.put_tiles([(key, tile)])

    def put_tiles(self, tiles: Sequence[tuple[TileKey, StoredTile]]) -> None:
        """All metrics of all of them in one transaction."""
        with self._transaction():
            for key, tile in tiles:
                how = json.dumps(tile.how)
                self._connection.executemany(
                    "INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (*vars(key).values(), metric, sums, _checksum(sums, how), how, time.time())
                        for metric, sums in tile.sums.items()
                    ],
                )

    def slice(self, tag: str, step: int) -> StoredSlice | None:
        """The slice logged under the tag at the step, or None."""
        return next(iter(self._slices("WHERE tag = ? AND step = ?", (tag, step))), None)

    def slices(self) -> Iterator[StoredSlice]:
        """All slices, by tag and then ascending by step."""
        return self._slices("ORDER BY tag, step", ())

    def tag_slices(self, tag: str) -> list[StoredSlice]:
        """The slices logged under the tag, ascending by step."""
        return list(self._slices("WHERE tag = ? ORDER BY step", (tag,)))

    def origins(self) -> list[tuple[str, str, str]]:
        """Tag, job and checkpoint of each slice."""
        with self._telling():
            return self._connection.execute("SELECT tag, job, checkpoint FROM slices ORDER BY tag, step").fetchall()

    def drop_tag(self, tag: str) -> None:
        """Takes the tag's slices out of the log; the tiles that they came from stay."""
        with self._transaction():
            self._connection.execute("DELETE FROM slices WHERE tag = ?", (tag,))

    def copy_to(self, path: Path) -> None:
        """A whole copy of the store in a file of its own; none where that has no room."""
        try:
            with self._telling(), contextlib.closing(sqlite3.connect(path)) as copy:
                self._connection.backup(copy)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def put_slice(self, new: StoredSlice, *, ends: str | None = None) -> bool:
        """Keeps the slice, and drops those that another job had logged under its tag (their tiles stay).

        `ends`: another tag, of which the slice of that step is dropped too, and those of other jobs. Returns whether it
        only adds to what a view of the store shows: nothing dropped or replaced, no later step.
        """
        body = b"".join(new.blobs)
        sizes = json.dumps([len(blob) for blob in new.blobs])
        with self._transaction():
            dropped = self._connection.execute(
                "DELETE FROM slices WHERE tag IN (?, ?) AND (job != ? OR step = ?)",
                (new.tag, ends, new.job, new.step),
            ).rowcount
            (later,) = self._connection.execute(
                "SELECT COUNT(*) FROM slices WHERE tag = ? AND step > ?", (new.tag, new.step)
            ).fetchone()
            self._connection.execute(
                "INSERT INTO slices VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (new.tag, new.step, new.job, new.checkpoint, new.wall_time, body, sizes, _checksum(body, sizes)),
            )
        return dropped == 0 and later == 0

    def _check_version(self) -> bool:
        """That it is ours or can be; whether it is as good as new."""
        (tables,) = self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if (tables or application) and application != _APPLICATION:
            raise StoreError(f"{self.path} is an SQLite file of another program: move it away")
        if version > VERSION:
            raise StoreError(
                f"{self.path} was written by a newer version (format {version}, this one reads {VERSION}): "
                "update tensorboard-loss-slicer"
            )
        return not tables

    def _open(self) -> None:
        # A write-ahead log needs shared memory, which a network file system has not; without one, each commit waits
        # for the disk.
        on_network = is_on_network(self.path.parent)
        self._connection.execute(f"PRAGMA journal_mode = {'DELETE' if on_network else 'WAL'}")
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if on_network else 'NORMAL'}")
        # At once: a file that has tables but not yet whose they are would be taken for another program's.
        self._connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {VERSION};{_SCHEMA}COMMIT;"
        )

    def _check_place(self) -> None:
        """SQLite goes on writing to a file that has no name any more, or another one."""
        if self._lock is not None and (self._lock.is_anothers or not self._place.exists()):
            raise StoreError(
                f"{self.path} was moved or removed while this run was at work, so what it evaluates would be lost. Run "
                "the same command again: with the --logdir that it was moved to, it goes on from what was stored"
            )

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Turns what SQLite raises into a StoreError."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise _refused(self.path, error) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path} is not a store, or is damaged: {error}. {self._remedy()}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._check_place()
        with self._telling():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite itself rolls back where the disk is full.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _slices(self, clause: str, values: tuple[Any, ...]) -> Iterator[StoredSlice]:
        with self._telling():
            rows = self._connection.execute(
                f"SELECT tag, step, job, checkpoint, wall_time, blobs, sizes, crc FROM slices {clause}", values
            )
            for tag, step, job, checkpoint, wall_time, body, sizes, crc in rows:
                self._verify(_checksum(body, sizes), crc, f"slice {tag} at step {step}")
                ends = [0]
                for size in json.loads(sizes):
                    ends.append(ends[-1] + size)
                blobs = [body[start:end] for start, end in itertools.pairwise(ends)]
                yield StoredSlice(tag=tag, step=step, job=job, checkpoint=checkpoint, wall_time=wall_time, blobs=blobs)

    def _verify(self, found: int, stored: int, what: str) -> None:
        if found != stored:
            raise StoreError(f"{self.path} is damaged: the checksum of {what} does not fit. {self._remedy()}")

    def _remedy(self) -> str:
        if self.path.name == FILE_NAME:
            return "Run again with --fresh, which moves it aside and starts anew"
        # Of a shard, which who puts shards together can't make anew.
        return "Remove it, and run the worker of that shard again"


def _reading_mode(path: Path) -> str:
    """Where nothing can be written, SQLite can't make the memory that readers of a write-ahead log share.

    There nobody can be at work either, unless there is such a log.
    """
    alone = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    return "ro&immutable=1" if alone else "ro"


def _checksum(data: bytes, note: str) -> int:
    return zlib.crc32(note.encode("utf-8", errors="surrogatepass"), zlib.crc32(data))


def _refused(path: Path, error: sqlite3.OperationalError) -> StoreError:
    # Python's own errors have no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    kind = code & 0xFF
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailableError(f"{path} is in use by another program: {error}")
    if kind == sqlite3.SQLITE_FULL or (kind == sqlite3.SQLITE_IOERR and code not in _UNREADABLE):
        return StoreUnavailableError(_no_room(path, str(error)))
    return StoreError(f"{path} can't be read or written: {error}")


def _no_room(path: Path, reason: str | None) -> str:
    return (
        f"{path} can't be written: {reason}. What was stored before is kept: see that its disk has room, then run the "
        "same command again"
    )
