"""`--executor ray` on a real cluster of two nodes, of which a worker is killed and then a node removed."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from slicer_core.errors import StopRequested, UsageError
from slicer_core.executors.ray_cluster import RayCluster, actors_of_node

HOLD = """
    while (HERE / "hold").exists():
        time.sleep(0.02)
    fault(values)
"""
SENT = """
(HERE / f"sent-{os.getpid()}").write_text(
    " ".join(path.name for path in Path(__file__).parent.rglob("*") if path.is_file() and path.suffix != ".pyc")
)
"""


# Workers that nobody asked for are not started, and a node that is gone is missed sooner.
QUICK = {
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_enable_metrics_collection": "0",
    "RAY_enable_export_api_write": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def test_a_killed_worker_and_a_removed_node_change_no_number(
    workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = workplace / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    # Ray's workers are nice to others by default, and would starve on a busy machine.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    # Actors have the variables of their node, not of the run.
    for name, value in long_jobs.environment(SLOW="0.03").items():
        monkeypatch.setenv(name, value)
    module = workplace / "subject.py"
    module.write_text(module.read_text().replace("    fault(values)\n", HOLD, 1) + SENT)
    (workplace / "secret.txt").write_text("not to be sent")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        harmed: list[str] = []

        def harm() -> None:
            """Kills who evaluated last; takes a node away once another has come in its place, while tiles are left."""
            wait_until(lambda: len(evaluations()) >= 20)
            Path("hold").touch()
            # One of the two may still be importing, and would pass for the one that comes in the other's place.
            wait_until(lambda: len(set(evaluations())) == 2)
            first = set(evaluations())
            os.kill(evaluations()[-1], signal.SIGKILL)
            harmed.append("worker")
            wait_until(lambda: bool(set(evaluations()) - first))
            cluster.remove_node(second)
            harmed.append("node")
            Path("hold").unlink()

        thread = threading.Thread(target=harm, daemon=True)
        thread.start()
        done = long_jobs.run("--executor", "ray", "--ray-address", cluster.address, "--workers", "2")
        thread.join(timeout=60)
    finally:
        cluster.shutdown()
    assert done.returncode == 0, done.stderr
    assert harmed == ["worker", "node"]
    assert long_jobs.arrays() == undisturbed
    assert len(set(evaluations())) == 3
    for process in set(evaluations()):
        assert Path(f"sent-{process}").read_text() == "subject.py"
    assert list(home.iterdir()) == []


def evaluations() -> list[int]:
    """The process of each evaluation."""
    file = Path("evaluated")
    return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []


def wait_until(so: Callable[[], bool]) -> None:
    while not so():
        time.sleep(0.02)


class ActorDiedError(ConnectionError):
    """As Ray's, which comes for an actor that is not restarted any more."""

    actor_init_failed = False


def gone(actor: str) -> tuple[str, object, float]:
    raise ActorDiedError(f"The actor died unexpectedly.\n\tclass_name: A\n{actor} is dead. And more")


def fake_ray(
    monkeypatch: pytest.MonkeyPatch,
    actors: Iterable[Callable[[], object]] = itertools.repeat(lambda: ("done", 1, 0.0)),
    **functions: Callable[..., object],
) -> None:
    """Ray without a cluster: each task has an answer at once, from one of `actors` in turn."""
    answers = iter(actors)

    def make(*given: object) -> object:
        answer = next(answers)
        return SimpleNamespace(run=SimpleNamespace(remote=lambda task, shared: Reference(answer)))

    options = SimpleNamespace(remote=make)
    ray = SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **given: None,
        shutdown=lambda: None,
        kill=lambda one: None,
        cluster_resources=lambda: {"CPU": 1.0},
        get_runtime_context=lambda: SimpleNamespace(gcs_address="nowhere.invalid:1"),
        remote=lambda **given: lambda one: SimpleNamespace(options=lambda runtime_env: options),
        wait=lambda running, num_returns, timeout: (running, []),
        get=lambda reference: reference.answer(),
        exceptions=SimpleNamespace(RayError=ConnectionError, ActorDiedError=ActorDiedError),
    )
    vars(ray).update(functions)
    monkeypatch.setitem(sys.modules, "ray", ray)


@dataclass(eq=False)
class Reference:
    """To what an actor answers."""

    answer: Callable[[], object]


def cluster(look: Callable[[], None], workers: int = 1) -> RayCluster[str]:
    return RayCluster(lambda hello: (print, print), None, address="there", workers=workers, files="", look=look)


def test_an_actor_that_is_gone_for_good_costs_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Callable[[], object]] = [lambda: ("done", 1, 0.0), lambda: gone("first"), lambda: gone("second")]
    fake_ray(monkeypatch, actors=answers)
    with cluster(lambda: None, workers=3) as found:
        assert sorted(found.results("abcdef")) == [(task, 1) for task in "abcdef"]
        assert found.run("g") == 1


def test_a_cluster_that_is_gone_stops_the_run_which_can_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ray(monkeypatch, actors=itertools.repeat(lambda: gone("actor")))
    with cluster(lambda: None, workers=2) as found, pytest.raises(StopRequested) as stop:
        list(found.results("abc"))
    assert stop.value.status == 75
    assert "lost (actor is dead). What was finished is kept; the same command" in stop.value.reason


def test_actors_that_can_not_begin_are_no_reason_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ray(monkeypatch, actors=itertools.repeat(lambda: gone("No module named 'this'")))
    monkeypatch.setattr(ActorDiedError, "actor_init_failed", True)
    with cluster(lambda: None) as found, pytest.raises(UsageError, match="No module named 'this'"):
        list(found.results("abc"))


def test_a_head_node_that_is_silent_stops_the_run_before_ray_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "0.01")
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = "127.0.0.1:{1}".format(*head.getsockname())
        fake_ray(
            monkeypatch,
            get_runtime_context=lambda: SimpleNamespace(gcs_address=address),
            wait=lambda running, num_returns, timeout: ([], running),
        )
        found = cluster(lambda: None)
    with found, pytest.raises(StopRequested) as stop:
        list(found.results("abc"))
    assert stop.value.status == 75
    assert "its head node has not answered" in stop.value.reason


@pytest.mark.parametrize(
    ("device", "own", "most", "expected"),
    [
        ("cpu", {"CPU": 1.0}, None, 8),
        ("cpu", {"CPU": 1.0}, 3, 3),
        ("cpu", {"GPU": 0.5}, None, 4),
        ("cuda", {"GPU": 0.3333}, 6, 3),
        ("cuda", {"GPU": 1.0}, 6, 1),
    ],
)
def test_actors_know_how_many_share_their_memory(
    device: str, own: dict[str, float], most: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = SimpleNamespace(get_assigned_resources=lambda: own, get_node_id=lambda: "here")
    nodes = [
        {"NodeID": "there", "Resources": {"CPU": 64.0}},
        {"NodeID": "here", "Resources": {"CPU": 8.0, "GPU": 2.0}},
    ]
    fake_ray(monkeypatch, get_runtime_context=lambda: context, nodes=lambda: nodes)
    assert actors_of_node(device, most=most) == expected


def test_the_handler_of_sigterm_stays_the_commands_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    fake_ray(monkeypatch, init=lambda **given: signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number)))
    try:
        with cluster(lambda: None) as found:
            assert signal.getsignal(signal.SIGTERM) is before
            assert found.run("task") == 1
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("name", ["wait", "get"])
def test_a_stop_that_ray_hides_is_a_stop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def returned_with_an_exception_set(*given: object, **options: object) -> object:
        raise SystemError("returned a result with an exception set") from StopRequested(75)

    def look() -> None:
        raise StopRequested(75)

    fake_ray(monkeypatch, **{name: returned_with_an_exception_set})
    with cluster(look) as found, pytest.raises(StopRequested):
        found.run("task")
