"""Point-parallel workers: forked processes of one thread each that evaluate shares of the points on the same data.

A forked child has the model, the data and the captured graph without a copy, and gives back sums only. Two processes
of one thread each outrun one process of two: small operations don't wait for one another at every step.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
# Before what a child gives stands how many bytes it is: 0 where it failed, and says why.
_LENGTH_BYTES = 8
# Children that have given all, and only have their memory taken back by the system, which takes tens of milliseconds.
_ENDING: list[int] = []


def can_fork() -> bool:
    """Whether this platform's processes can be forked with the threads of its arithmetic at rest."""
    return sys.platform.startswith("linux") and not torch.cuda.is_initialized()


def shared_out(shares: Sequence[Callable[[], Result]]) -> tuple[list[Result], list[str]]:
    """The results of all shares: the first in this process, each other in a forked one, with one thread each.

    A share whose process fails is run again here. Also returns why that happened, if it did.
    """
    if len(shares) == 1:
        return [shares[0]()], []
    children = [_Child(share) for share in shares[1:]]
    try:
        with one_thread():
            results = [shares[0]()]
        reasons = []
        for child, share in zip(children, shares[1:], strict=True):
            try:
                results.append(child.result())
            except _ChildFailedError as failure:
                reasons.append(f"a worker process {failure}, so its points were run again")
                results.append(share())
        return results, reasons
    finally:
        for child in children:
            child.close()


def await_ended(*, wait: bool = True) -> None:
    """Lets the system forget children that have given their results; without `wait`, those that have ended by now."""
    for pid in list(_ENDING):
        # The program may have waited for all of its children.
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, 0 if wait else os.WNOHANG)[0] == 0:
                continue
        # Another thread may have seen it too.
        with contextlib.suppress(ValueError):
            _ENDING.remove(pid)


class _ChildFailedError(Exception):
    """What became of a child that gave no result."""


class _Child:
    def __init__(self, share: Callable[[], Any]) -> None:
        await_ended(wait=False)
        reader, writer = os.pipe()
        # Output that waits in buffers would be written by both.
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # Python warns of locks that other threads hold; the child takes none that a progress display has.
            warnings.simplefilter("ignore", DeprecationWarning)
            # An interrupt that comes before the child has handlers of its own would run what the parent does then.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                self._pid = os.fork()
                if self._pid == 0:
                    _run_and_exit(share, reader, writer, before)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writer)
        self._reader: int | None = reader

    def result(self) -> Any:
        """What the share gave.

        Raises:
            _ChildFailedError: nothing.
        """
        assert self._reader is not None
        with open(self._reader, "rb") as stream:
            self._reader = None
            data = stream.read()
        length, given = int.from_bytes(data[:_LENGTH_BYTES], "little"), data[_LENGTH_BYTES:]
        if given and len(given) == length:
            _ENDING.append(self._pid)
            self._pid = 0
            return pickle.loads(given)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        raise _ChildFailedError(f"ended by signal {-code}" if code < 0 else f"failed: {given.decode()[:200]}")

    def close(self) -> None:
        """Ends the child if it is there."""
        if self._reader is not None:
            os.close(self._reader)
            self._reader = None
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def _run_and_exit(share: Callable[[], Any], reader: int, writer: int, heard: set[Any]) -> None:
    code = 1
    try:
        os.close(reader)
        # A child's objects are the parent's: collecting them would copy pages for nothing.
        gc.disable()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        torch.set_num_threads(1)
        with open(writer, "wb") as stream:
            try:
                given = pickle.dumps(share())
                length, code = len(given), 0
            except BaseException as error:  # noqa: BLE001 - the parent is told, and runs the share itself
                given, length = f"{type(error).__name__}: {error}".encode(), 0
            stream.write(length.to_bytes(_LENGTH_BYTES, "little") + given)
    finally:
        os._exit(code)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """What this process does meanwhile is done with one thread, as in a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
