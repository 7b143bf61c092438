"""One writer for a store: a lock of the operating system, and a note beside it of who holds it and since when."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slicer_core.errors import StoreUnavailableError

_BUSY = (errno.EACCES, errno.EAGAIN)
# Locks of the operating system are released by any close of the file in the process, so it is told here too.
_HELD: set[Path] = set()


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that has a store. `boot` and `started` tell it from another one with the same number, later."""

    pid: int
    host: str
    boot: str
    started: str
    since: float
    command: str

    @classmethod
    def this(cls) -> Holder:
        """This process."""
        return cls(
            pid=os.getpid(),
            host=socket.gethostname(),
            boot=_boot(),
            started=_started(os.getpid()),
            since=time.time(),
            command=" ".join(Path(word).name if index == 0 else word for index, word in enumerate(sys.argv))[:200],
        )

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended; of a process on another machine nothing is known."""
        if self.host != socket.gethostname():
            return False
        return self.boot != _boot() or _started(self.pid) != self.started or not self.started

    def describe(self) -> str:
        """Who and since when."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host} since {since} ({self.command})"


class StoreLock:
    """Held from its making to `release`; the system takes it from a process that ends in any way.

    Raises:
        StoreUnavailableError: another process has it, or this one does already.
        OSError: it can't be written.
    """

    def __init__(self, store: Path) -> None:
        self.path = lock_path(store)
        self._store = store
        self._real = self.path.parent.resolve() / self.path.name
        if self._real in _HELD:
            raise StoreUnavailableError(
                f"{store} is in use by another run in this process: one run at a time may write it"
            )
        self._file = self._acquire()
        _HELD.add(self._real)
        try:
            os.truncate(self._file, 0)
            os.pwrite(self._file, json.dumps(asdict(Holder.this())).encode(), 0)
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Lets the next one in."""
        if self._real in _HELD:
            # While it is held: nobody else can have locked this file then. Where the folder was moved away, the path
            # may be that of another run's.
            with contextlib.suppress(OSError):
                if self._is_current(self._file):
                    self.path.unlink()
            os.close(self._file)
            _HELD.discard(self._real)

    @property
    def is_anothers(self) -> bool:
        """Whether another process has a lock in its place, as it may where the folder was moved or removed."""
        return self.path.exists() and not self._is_current(self._file)

    def _acquire(self) -> int:
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._lock(file)
                # The one before may have taken the file away between the two.
                if self._is_current(file):
                    return file
            except BaseException:
                os.close(file)
                raise
            os.close(file)

    def _lock(self, file: int) -> None:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _parsed(os.pread(file, 4096, 0))
            if error.errno in _BUSY:
                raise StoreUnavailableError(_told(self._store, holder)) from error
            # A file system without locks: the note is all there is.
            if holder is not None and not holder.is_gone:
                raise StoreUnavailableError(
                    f"{_told(self._store, holder)}. If it has ended without saying so, remove {self.path}"
                ) from error

    def _is_current(self, file: int) -> bool:
        try:
            there, own = self.path.stat(), os.fstat(file)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)


def lock_path(store: Path) -> Path:
    """Where the note lies."""
    return store.with_name(store.name + ".lock")


def holder_of(store: Path) -> Holder | None:
    """Who has the store now; None where nobody has, or who had it has ended."""
    try:
        holder = _parsed(lock_path(store).read_bytes())
    except OSError:
        return None
    return None if holder is None or holder.is_gone else holder


def _told(store: Path, holder: Holder | None) -> str:
    who = "another run" if holder is None else f"another run: {holder.describe()}"
    return f"{store} is in use by {who}. One run at a time may write it: wait until it is done, or stop it"


def _parsed(data: bytes) -> Holder | None:
    try:
        fields: dict[str, Any] = json.loads(data)
        return Holder(**fields)
    except (ValueError, TypeError):
        return None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When the process started, in the kernel's clock; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "" if not _is_there(pid) else "unknown"


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
