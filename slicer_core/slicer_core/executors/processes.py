"""Tasks in processes of this machine, each with its own data and model: who dies is replaced, and its task run again.

A worker is started by a command that gets the number of a socket. Messages are small: a task goes out, its result
comes back. A worker begins with `("ready", None)`, or `("failed", error)` if it can't work at all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from slicer_core.errors import ResourceError, SlicerError, UsageError
from slicer_core.executors.executor import Executor, Failure, Task

TASK_TIMEOUT = "LOSS_SLICER_TILE_TIMEOUT"
"""Environment variable with the seconds after which a worker that has not finished its tile is ended."""
# How many workers one task may take with it.
_MOST_DEATHS = 3
# A task may take so many times as long as the longest before it; the first ones may take long.
_PATIENCE = 20.0
_LEAST_PATIENCE = 120.0
_FIRST_PATIENCE = 3600.0
_LOOK_SECONDS = 0.5
_END_SECONDS = 5.0


class Processes(Executor[Task]):
    """`len(environments)` workers.

    Args:
        command: starts a worker; the number of its socket is added.
        hello: the first message to each worker.
        environments: variables that each worker has beside those of this process.
        look: called now and then while waiting; may raise to stop.
    """

    def __init__(
        self,
        command: Sequence[str],
        hello: Any,
        environments: Sequence[Mapping[str, str]],
        *,
        look: Callable[[], None],
    ) -> None:
        self._command, self._hello = list(command), hello
        self._look = look
        self._shared: Any = None
        self._deaths: dict[Any, int] = {}
        self._longest: float | None = None
        given = os.environ.get(TASK_TIMEOUT)
        try:
            self._timeout = None if given is None else float(given)
        except ValueError:
            raise UsageError(f"{TASK_TIMEOUT}={given} is not a number of seconds") from None
        self._workers = [_Worker(self._command, hello, variables) for variables in environments]

    def run(self, task: Task) -> Any:
        """See `Executor`."""
        ((_, result),) = self.results([task])
        return result

    def share(self, decided: Any) -> None:
        """See `Executor`."""
        self._shared = decided
        for worker in self._workers:
            worker.knows = False

    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Any]]:
        """See `Executor`.

        Raises:
            SlicerError: workers can't be started.
        """
        source, again = iter(tasks), deque[Any]()
        exhausted = False
        while True:
            for worker in self._workers:
                if not worker.is_ready or worker.task is not None:
                    continue
                if again:
                    task = again.popleft()
                elif not exhausted:
                    task = next(source, None)
                    exhausted = task is None
                else:
                    task = None
                if task is not None:
                    worker.give(task, self._shared)
            busy = [worker for worker in self._workers if worker.task is not None]
            if exhausted and not again and not busy:
                return
            for worker in self._heard():
                yield from self._hear(worker, again)
            self._look()
            for worker in busy:
                if worker.task is not None and worker.seconds > self._patience():
                    yield from self._lose(worker, again, f"did not finish in {self._patience():.0f} s")

    def close(self) -> None:
        """Ends all workers."""
        for worker in self._workers:
            worker.end()

    def _heard(self) -> list[_Worker]:
        """The workers that have said something, or have ended."""
        by_connection = {worker.connection: worker for worker in self._workers}
        return [by_connection[connection] for connection in wait(list(by_connection), _LOOK_SECONDS)]  # type: ignore[index] - what is waited for comes back

    def _hear(self, worker: _Worker, again: deque[Any]) -> Iterator[tuple[Any, Any]]:
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._lose(worker, again, None)
            return
        if kind == "ready":
            worker.is_ready = True
            return
        if kind == "failed" and worker.task is None:
            raise content
        self._longest = max(worker.seconds, self._longest or 0.0)
        task, worker.task = worker.task, None
        yield task, Failure(error=content) if kind == "failed" else content

    def _lose(self, worker: _Worker, again: deque[Any], reason: str | None) -> Iterator[tuple[Any, Any]]:
        """Replaces a worker; its task is run again, or set aside where it has cost too many."""
        how = worker.end() if reason is None else reason
        worker.end()
        task = worker.task
        key = task if task is not None else "start"
        self._deaths[key] = self._deaths.get(key, 0) + 1
        if task is None and self._deaths[key] >= _MOST_DEATHS + len(self._workers):
            raise ResourceError(f"worker processes end before they can work ({how}): give fewer --workers")
        self._workers[self._workers.index(worker)] = _Worker(self._command, self._hello, worker.variables)
        if task is None:
            return
        if self._deaths[key] < _MOST_DEATHS:
            again.append(task)
        else:
            error = ResourceError(f"{_MOST_DEATHS} worker processes were lost with it (the last one {how})")
            yield task, Failure(error=error, is_set_aside=True)

    def _patience(self) -> float:
        if self._timeout is not None:
            return self._timeout
        return _FIRST_PATIENCE if self._longest is None else max(_LEAST_PATIENCE, _PATIENCE * self._longest)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """What is started within gets no Ctrl-C, of which it would die with a traceback before it could ignore it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """One process, and what it is doing."""

    def __init__(self, command: Sequence[str], hello: Any, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.is_ready, self.knows = False, False
        self.task: Any = None
        self._since = 0.0
        self.connection, other = Pipe()
        with other, _interrupts_blocked():
            self._process = subprocess.Popen(
                [*command, str(other.fileno())],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                # What the user's code prints there would be between the lines of a result.
                stdout=2,
                env={**os.environ, **variables},
            )
        with contextlib.suppress(OSError):
            self.connection.send(hello)

    @property
    def seconds(self) -> float:
        """Since its task was given."""
        return time.monotonic() - self._since

    def give(self, task: Any, shared: Any) -> None:
        """Sends the task, and what is shared where it is not known there."""
        self.task, self._since = task, time.monotonic()
        # A worker that has just ended is noticed when it is listened to.
        with contextlib.suppress(OSError):
            if not self.knows and shared is not None:
                self.connection.send(("share", shared))
            self.knows = True
            self.connection.send(("task", task))

    def end(self) -> str:
        """Kills the process if it is there; how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # One that has closed its socket is about to end by itself, with a status that tells more.
            self._process.wait(0.2 if self.connection.closed else 1.0 if self._hung_up() else 0.0)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(_END_SECONDS)
        self.connection.close()
        code = self._process.returncode
        return f"ended by signal {-code}" if code < 0 else f"ended with status {code}"

    def _hung_up(self) -> bool:
        try:
            return self.connection.poll(0) and self.task is not None
        except (OSError, EOFError):
            return True


def serve(number: int, work: Callable[[Any, Connection], None]) -> None:
    """A worker's side: `work(hello, connection)` until the other side is gone."""
    connection = Connection(number)
    try:
        hello = connection.recv()
        work(hello, connection)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The run has ended.
        return


def answer(connection: Connection, evaluate: Callable[[Any], Any], decide: Callable[[Any], None]) -> None:
    """Takes messages one by one, and sends what comes of them."""
    connection.send(("ready", None))
    while True:
        kind, content = connection.recv()
        if kind == "share":
            decide(content)
            continue
        try:
            reply = ("done", evaluate(content))
        except SlicerError as error:
            reply = ("failed", _sendable(error))
        connection.send(reply)


def _sendable(error: SlicerError) -> SlicerError:
    """The error with its cause as text: the cause may be of a class that only the user's module has."""
    return type(error)(str(error))
