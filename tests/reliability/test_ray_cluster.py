"""`--executor ray` on a real cluster of two nodes, of which a worker is killed and then a node removed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from slicer_core.errors import StopRequested
from slicer_core.executors.ray_cluster import RayCluster

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


def fake_ray(monkeypatch: pytest.MonkeyPatch, **functions: Callable[..., object]) -> None:
    """Ray without a cluster: each task has an answer at once."""
    actor = SimpleNamespace(run=SimpleNamespace(remote=lambda task, shared: object()))
    options = SimpleNamespace(remote=lambda make, hello: actor)
    ray = SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **given: None,
        shutdown=lambda: None,
        kill=lambda one: None,
        cluster_resources=lambda: {"CPU": 1.0},
        remote=lambda **given: lambda one: SimpleNamespace(options=lambda runtime_env: options),
        wait=lambda running, num_returns, timeout: (running, []),
        get=lambda reference: ("done", 1, 0.0),
        exceptions=SimpleNamespace(RayError=ConnectionError),
    )
    vars(ray).update(functions)
    monkeypatch.setitem(sys.modules, "ray", ray)


def cluster(look: Callable[[], None]) -> RayCluster[str]:
    return RayCluster(lambda hello: (print, print), None, address="there", workers=1, files="", look=look)


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
