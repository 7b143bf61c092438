"""Tasks in actors of a Ray cluster. Ray restarts those that are lost, and runs their tasks again."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import fmean
from typing import Any

from slicer_core.errors import ResourceError, SlicerError, StopRequested, UsageError
from slicer_core.executors.executor import Executor, Failure, Task

_RESTARTS = 20
_RETRIES = 3
_LOOK_SECONDS = 0.5
# A task that takes longer than this many times the mean of all is run a second time, where an actor has
# nothing to do.
_LEAST_PATIENCE = 10.0
_PATIENCE = 3.0
# Ray ends a process whose cluster's head node has not answered for so long, with a status of its own.
_GIVEN_UP = "RAY_gcs_rpc_server_reconnect_timeout_s"
_GIVEN_UP_SECONDS = 60.0
# Until then there has to be time to end in our own way, which Ray takes some of.
_SHUTDOWN_SECONDS = 20.0
_ACTOR_GONE = object()


class RayCluster(Executor[Task]):
    """As many actors as the cluster has GPUs, or else as `workers` says (default: one for each of its CPUs).

    Args:
        make: called in each actor with `hello`, gives its (evaluate, decide). Ray carries both there.
        hello: what an actor begins with.
        address: of a running cluster; None starts one on this machine, which ends with the run.
        files: a folder that is in every actor's import path, and is all that is sent of the user's files.
        look: called now and then while waiting; may raise to stop.

    Raises:
        UsageError: Ray is not installed, or the cluster can't be reached.
    """

    def __init__(
        self,
        make: Callable[[Any], tuple[Callable[[Any], Any], Callable[[Any], None]]],
        hello: Any,
        *,
        address: str | None,
        workers: int | None,
        files: str,
        look: Callable[[], None],
    ) -> None:
        if address is None:
            # Without it, Ray writes a token into the home directory. A cluster that runs already has its own.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise UsageError(
                "--executor ray needs Ray: pip install 'tensorboard-loss-slicer[ray]', on every machine of the cluster"
            ) from error
        # Its own annotations know neither classes made here nor options given as a mapping.
        library: Any = ray
        self._ray, self._look = library, look
        self._owns = not library.is_initialized()
        if self._owns:
            try:
                with _sigterm_kept():
                    library.init(
                        address=address or "local",
                        runtime_env={"working_dir": files},
                        log_to_driver=False,
                        configure_logging=False,
                        **({} if address else {"include_dashboard": False, "num_cpus": workers}),
                    )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise UsageError(f"--ray-address {address} can't be reached: {error}") from error
        try:
            resources = library.cluster_resources()
            gpus = int(resources.get("GPU", 0))
            count = workers or gpus or max(1, int(resources.get("CPU", 1)))
            share: Mapping[str, float] = {"num_gpus": 1 / math.ceil(count / gpus)} if gpus else {"num_cpus": 1}
            actor = library.remote(max_restarts=_RESTARTS, max_task_retries=_RETRIES, **share)(_Actor)
            self._actors = [
                actor.options(runtime_env={"working_dir": files} if not self._owns else None).remote(make, hello)
                for _ in range(count)
            ]
        except BaseException:
            self.close()
            raise
        self._head = _Head(library.get_runtime_context().gcs_address)
        self._shared: Any = None
        self._seconds: list[float] = []

    def run(self, task: Task) -> Any:
        """See `Executor`."""
        ((_, result),) = self.results([task])
        return result

    def share(self, decided: Any) -> None:
        """See `Executor`."""
        self._shared = decided

    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Any]]:
        """See `Executor`."""
        source = iter(tasks)
        lost: list[Task] = []
        idle = list(self._actors)
        running: dict[Any, tuple[Any, Task, float]] = {}
        done: set[Task] = set()
        while True:
            while idle and (task := lost.pop() if lost else next(source, None)) is not None:
                actor = idle.pop()
                running[actor.run.remote(task, self._shared)] = (actor, task, time.monotonic())
            if idle:
                self._run_late_ones_again(idle, running)
            if not lost and all(task in done for _, task, _ in running.values()):
                return
            ready, _ = self._asked(self._ray.wait, list(running), num_returns=1, timeout=_LOOK_SECONDS)
            for reference in ready:
                actor, task, _ = running.pop(reference)
                self._actors.remove(actor)
                result = self._result(reference)
                if result is _ACTOR_GONE:
                    if task not in done and all(task != other for _, other, _ in running.values()):
                        lost.append(task)
                    continue
                # Who answers is there, and is asked first from now on.
                idle.append(actor)
                self._actors.append(actor)
                if task not in done:
                    done.add(task)
                    yield task, result
            self._look()
            self._head.check()

    def _run_late_ones_again(self, idle: list[Any], running: dict[Any, tuple[Any, Task, float]]) -> None:
        """Where nothing else is left to do: an actor of a node that is gone may wait for another one forever."""
        usual = fmean(self._seconds) if self._seconds else 0.0
        late = time.monotonic() - max(_LEAST_PATIENCE, _PATIENCE * usual)
        for task in [task for _, task, since in running.values() if since < late]:
            if idle and sum(other == task for _, other, _ in running.values()) == 1:
                actor = idle.pop()
                running[actor.run.remote(task, self._shared)] = (actor, task, time.monotonic())

    def close(self) -> None:
        """Ends the actors, and Ray itself where it was started here."""
        for actor in getattr(self, "_actors", []):
            self._ray.kill(actor)
        if self._owns:
            self._ray.shutdown()

    def _asked(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What Ray answers; what the handler of a signal raises meanwhile comes out of it as it is."""
        try:
            return function(*arguments, **options)
        except SystemError:
            # Ray's own code returns in spite of it, and Python calls that an error of its own.
            self._look()
            raise

    def _result(self, reference: Any) -> Any:
        """What came of a task, or that its actor will not come back.

        Raises:
            StopRequested: it was the last one. UsageError: and could not begin.
        """
        try:
            kind, content, seconds = self._asked(self._ray.get, reference)
        except self._ray.exceptions.ActorDiedError as error:
            # For good: a task of an actor that is restarted is run again by Ray.
            if not self._actors:
                raise _all_gone(error) from error
            return _ACTOR_GONE
        except self._ray.exceptions.RayError as error:
            lost = ResourceError(f"its actor was lost more than {_RETRIES} times: {str(error).splitlines()[0]}")
            return Failure(error=lost, is_set_aside=True)
        self._seconds.append(seconds)
        return Failure(error=content) if kind == "failed" else content


class _Head:
    """The cluster's head node, of which Ray itself does not tell that it is silent."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._place = host.strip("[]"), int(port)
        given_up = float(os.environ.get(_GIVEN_UP, _GIVEN_UP_SECONDS))
        self._patience = max(given_up - _SHUTDOWN_SECONDS, given_up / 4)
        self._asked_at = time.monotonic()
        self._silent_since: float | None = None
        # Not from where only a proxy of the cluster can be reached.
        self._can_be_asked = self._answers()

    def check(self) -> None:
        """Asks, where it was not asked just now.

        Raises:
            StopRequested: it has been silent for too long.
        """
        now = time.monotonic()
        if not self._can_be_asked or now - self._asked_at < self._patience / 8:
            return
        self._asked_at = now
        if self._answers():
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since >= self._patience:
            raise _stop(f"its head node has not answered for {now - self._silent_since:.0f} seconds")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(self._place, timeout=1.0):
                return True
        except OSError:
            return False


def _all_gone(error: Any) -> BaseException:
    text = str(error).strip().splitlines()
    if error.actor_init_failed:
        return UsageError(
            f"no actor of the Ray cluster could begin: {text[-1]}. What is installed here has to be there too"
        )
    return _stop(f"all of its actors are lost ({text[-1].partition('. ')[0]})")


def _stop(what: str) -> StopRequested:
    return StopRequested(
        os.EX_TEMPFAIL,
        f"the Ray cluster is gone: {what}. What was finished is kept; the same command, with the --ray-address of a "
        "cluster that is up or without --executor ray, goes on from there",
    )


def actors_of_node(device: str, *, most: int | None) -> int:
    """In an actor: at most how many of a run's actors, of which there are `most`, share its node, or its GPU."""
    import ray

    library: Any = ray
    context = library.get_runtime_context()
    own = context.get_assigned_resources()
    kind = "GPU" if own.get("GPU") else "CPU"
    part = own.get(kind) or 1.0
    whole = 1.0
    if device != "cuda":
        nodes = {node["NodeID"]: node["Resources"] for node in library.nodes()}
        whole = nodes.get(context.get_node_id(), {}).get(kind, part)
    # Parts such as 0.3333 are rounded.
    fit = max(1, round(whole / part))
    return fit if most is None else min(fit, most)


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray puts a handler of its own in place of the process's, by which SIGTERM ends it at once, with status 1."""
    if threading.current_thread() is not threading.main_thread():
        # Nobody may set handlers there, and Ray does not.
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # None: it was not set from Python.
        if before is not None:
            signal.signal(signal.SIGTERM, before)


class _Actor:
    """Loads the job once; what is shared comes with each task, since an actor that was restarted has forgotten it."""

    def __init__(self, make: Callable[[Any], Any], hello: Any) -> None:
        self._made: Any = None
        self._error: SlicerError | None = None
        try:
            self._made = make(hello)
        except SlicerError as error:
            self._error = type(error)(str(error))

    def run(self, task: Any, shared: Any) -> tuple[str, Any, float]:
        """What came of the task, as `("done", result, seconds)` or `("failed", error, 0.0)`."""
        if self._error is not None:
            return "failed", self._error, 0.0
        evaluate, decide = self._made
        began = time.monotonic()
        try:
            if shared is not None:
                decide(shared)
            return "done", evaluate(task), time.monotonic() - began
        except SlicerError as error:
            return "failed", type(error)(str(error)), 0.0
