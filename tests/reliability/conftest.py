"""Real processes of the command on small jobs, and what they leave: sums bit by bit, and a count made by the loss."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from command_process import CommandProcess, run_command
from slicer_core.order import coarse_to_fine

EXAMPLE = Path(__file__).resolve().parents[2] / "checkpoints_examples" / "digits_mlp"
COMMAND = str(Path(sysconfig.get_path("scripts")) / "loss-slicer")
OPTIONS = ("--checkpoints", "sgd/checkpoints", "--grid", "9", "--strategy", "loop", "--module", "subject.py")
RUN_DIR = Path("runs/sgd/loss_slicer")
STORE = RUN_DIR / "slices.sqlite"

SUBJECT = '''
"""The digits with a loss that writes down its sum at each call, and does what the test has asked for."""
import os
import resource
import signal
import time
from pathlib import Path

import torch
from slicer_core import ModelWrapper
from slicer_core.examples import load_digits

HERE = Path(os.environ.get("HERE", Path(__file__).parent))
WORDS = os.environ.get("FAULT", "").split(":")
CALLS = []


def loss(output, target):
    values = torch.nn.functional.cross_entropy(output, target, reduction="none")
    # Some points of the second checkpoint have no number.
    values = torch.where(values.mean() > 3.0, torch.nan, values)
    with open(HERE / "evaluated", "a") as file:
        file.write(f"{os.getpid()} {values.double().sum().item()!r}\\n")
    time.sleep(float(os.environ.get("SLOW", "0")))
    wait_for_others(int(os.environ.get("PROCESSES", "1")))
    torch.empty(len(values), int(os.environ.get("BYTES_A_SAMPLE", "0")), dtype=torch.uint8)
    fault(values)
    return values


def wait_for_others(count):
    """After its first 60 calls, until as many processes have made calls; a minute at most."""
    CALLS.append(None)
    until = time.monotonic() + 60
    while count > 1 and len(CALLS) == 60 and time.monotonic() < until:
        if len({line.split()[0] for line in (HERE / "evaluated").read_text().splitlines()}) >= count:
            break
        time.sleep(0.05)


def fault(values):
    """`once:KIND` after a hundred calls, in one process; `always:KIND` where the loss is FAULT_AT."""
    if WORDS[0] == "once":
        try:
            if len((HERE / "evaluated").read_text().splitlines()) > 100:
                os.close(os.open(HERE / "happened", os.O_CREAT | os.O_EXCL))
                happen(WORDS[1])
        except FileExistsError:
            pass
    elif WORDS[0] == "always" and abs(values.double().mean() - float(os.environ["FAULT_AT"])) < 1e-9:
        happen(WORDS[1])


def happen(kind):
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "memory":
        os._exit(137)
    elif kind == "hang":
        time.sleep(3600)


def build(scale=1.0):
    if "MEMORY_LEFT" in os.environ:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = used + int(os.environ["MEMORY_LEFT"])
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    nn = torch.nn
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    (features, classes), _ = load_digits()
    return ModelWrapper(model, loss, (scale * features[:400], classes[:400]))
'''


def environment(**variables: str) -> dict[str, str]:
    """One thread, and tiles of few points, so that there are many to lose."""
    return (
        os.environ
        | {"OMP_NUM_THREADS": "1", "LOSS_SLICER_TILE_SECONDS": "0.02", "COLUMNS": "120", "HERE": str(Path.cwd())}
        | variables
    )


def start(*arguments: object, **variables: str) -> CommandProcess:
    return CommandProcess("run", *OPTIONS, *arguments, env=environment(**variables))


def run(*arguments: object, name: str = "run", **variables: str) -> subprocess.CompletedProcess[str]:
    return call(name, *OPTIONS, *arguments, **variables)


def call(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, env=environment(**variables), timeout=300)


def arrays() -> dict[tuple[object, ...], bytes]:
    """The bytes of every array in the log, by tag, step, name and role, and those of each point's sums in the store."""
    from tensorboard_loss_slicer.event_files import read_events

    logged: dict[tuple[object, ...], bytes] = {
        (event.tag, event.step, array.name, array.role): array.values.tobytes()
        for event in read_events(RUN_DIR)
        for array in event.data.arrays
    }
    return logged | point_sums()


def point_sums() -> dict[tuple[object, ...], bytes]:
    """All that is stored of each point of the slices in the store, by checkpoint and place in the order of points."""
    from slicer_core.evaluate import PointSums

    with contextlib.closing(sqlite3.connect(f"file:{STORE}?mode=ro", uri=True)) as connection:
        stored = connection.execute(
            "SELECT checkpoint, tile, sums FROM tiles WHERE job IN (SELECT job FROM slices) AND tile LIKE 'points:%'"
        ).fetchall()
    found: dict[tuple[object, ...], bytes] = {}
    for checkpoint, tile, content in stored:
        sums = PointSums.from_bytes(content)
        start, stop = map(int, tile.removeprefix("points:").split("-"))
        places = np.sort(coarse_to_fine((9, 9), "grid")[start:stop])
        fields = (sums.total, sums.squares, sums.with_counts, sums.with_center)
        for place, *values in zip(places, *fields, strict=True):
            found[checkpoint, int(place)] = np.array(values).tobytes()
    return found


def tiles(store: Path = STORE) -> set[tuple[str, str]]:
    """(checkpoint, tile) of all that is committed."""
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        return set(connection.execute("SELECT checkpoint, tile FROM tiles"))
    finally:
        connection.close()


@pytest.fixture(scope="session")
def long_jobs() -> SimpleNamespace:
    """The functions above, since test files can't import one another."""
    return SimpleNamespace(
        COMMAND=COMMAND, RUN_DIR=RUN_DIR, STORE=STORE, SUBJECT=SUBJECT, arrays=arrays, call=call,
        environment=environment, run=run, start=start, tiles=tiles,
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_workplace() -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        target = folder / "sgd" / "checkpoints"
        target.mkdir(parents=True)
        for step in (0, 200):
            shutil.copy(EXAMPLE / "sgd" / "checkpoints" / f"step-{step:06d}.safetensors", target)
        (folder / "subject.py").write_text(SUBJECT)
        return folder

    return make


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_workplace: Callable[[Path], Path]) -> Path:
    """The current directory: two checkpoints, and the module above."""
    monkeypatch.chdir(make_workplace(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, make_workplace: Callable[[Path], Path]
) -> dict[object, bytes]:
    """The arrays and sums of a run that nothing happened to. A part of its numbers are NaN."""
    folder = make_workplace(tmp_path_factory.mktemp("undisturbed"))
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = run("-q")
        assert done.returncode == 0, done.stderr
        found = dict(arrays())
        assert sum(b"\xf8\x7f" in content for content in point_sums().values()) in range(1, 80)
        return found
    finally:
        os.chdir(before)
