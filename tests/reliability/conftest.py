"""Real processes of the command on small jobs, and what they leave: sums bit by bit, and a count made by the loss."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "checkpoints_examples" / "digits_mlp"
COMMAND = str(Path(sysconfig.get_path("scripts")) / "loss-slicer")
RUN_DIR = Path("runs/sgd/loss_slicer")
STORE = RUN_DIR / "slices.sqlite"

SUBJECT = '''
"""The digits with a loss that writes down its sum at each call, and does what the test has asked for."""
import os
import signal
import time
from pathlib import Path

import torch
from slicer_core import ModelWrapper
from slicer_core.examples import load_digits

HERE = Path(os.environ.get("HERE", Path(__file__).parent))
WORDS = os.environ.get("FAULT", "").split(":")


def loss(output, target):
    values = torch.nn.functional.cross_entropy(output, target, reduction="none")
    with open(HERE / "evaluated", "a") as file:
        file.write(f"{os.getpid()} {values.double().sum().item()!r}\\n")
    time.sleep(float(os.environ.get("SLOW", "0")))
    fault(values)
    return values


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
    nn = torch.nn
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    (features, classes), _ = load_digits()
    return ModelWrapper(model, loss, (scale * features[:400], classes[:400]))
'''

Sums = dict[tuple[str, int, str], tuple[bytes, ...]]


def environment(**variables: str) -> dict[str, str]:
    """One thread, and tiles of few points, so that there are many to lose."""
    return (
        os.environ
        | {"OMP_NUM_THREADS": "1", "LOSS_SLICER_TILE_SECONDS": "0.02", "COLUMNS": "120", "HERE": str(Path.cwd())}
        | variables
    )


def command(*arguments: object, name: str = "run") -> list[str]:
    options = ("--checkpoints", "sgd/checkpoints", "--grid", "9", "--strategy", "loop", "--module", "subject.py")
    return [COMMAND, name, *options, *map(str, arguments)]


def run(*arguments: object, name: str = "run", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, name=name),
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def arrays(logdir: str = "runs") -> dict[tuple[str, int, str, str], bytes]:
    """The bytes of every array in the log, by tag, step, name and role."""
    from tensorboard_loss_slicer.event_files import read_events

    return {
        (event.tag, event.step, array.name, array.role): array.values.tobytes()
        for event in read_events(Path(logdir) / "sgd" / "loss_slicer")
        for array in event.data.arrays
    }


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
        COMMAND=COMMAND, RUN_DIR=RUN_DIR, STORE=STORE, SUBJECT=SUBJECT, arrays=arrays, command=command,
        environment=environment, run=run, tiles=tiles,
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
    """The arrays of a run that nothing happened to."""
    folder = make_workplace(tmp_path_factory.mktemp("undisturbed"))
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = run("-q")
        assert done.returncode == 0, done.stderr
        return dict(arrays())
    finally:
        os.chdir(before)
