"""The command on real checkpoints: in this process where that will do, else as a process of its own, which only where
the interpreter's start and end count is one that imports everything anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from typer.testing import CliRunner, Result

from command_process import run_command
from loss_slicer.app import app
from slicer_core.slices import Slice, decode_slice

EXAMPLE = Path(__file__).resolve().parents[2] / "checkpoints_examples" / "digits_mlp"
COMMAND = str(Path(sysconfig.get_path("scripts")) / "loss-slicer")
FEW_STEPS = (0, 200, 2000)
# What makes rich and typer write colors where there is no terminal, and what hides them where there is one.
_COLOR_VARIABLES = ("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "CLICOLOR_FORCE", "TTY_COMPATIBLE")

Log = dict[str, dict[str, dict[int, Slice]]]


def copy_checkpoints(optimizer: str, folder: Path, steps: tuple[int, ...] = FEW_STEPS) -> Path:
    """Some of the example's checkpoints in `folder/checkpoints`; returns that."""
    target = folder / "checkpoints"
    target.mkdir(parents=True, exist_ok=True)
    for step in steps:
        shutil.copy(EXAMPLE / optimizer / "checkpoints" / f"step-{step:06d}.safetensors", target)
    return target


def read_log(logdir: Path) -> Log:
    """Run -> tag -> step -> slice, as TensorBoard's own reader and data provider give them.

    Steps are in the order in which they are read.
    """
    multiplexer = EventMultiplexer(tensor_size_guidance={"loss_slicer": 1000})
    multiplexer.AddRunsFromDirectory(str(logdir))
    multiplexer.Reload()
    provider, context = MultiplexerDataProvider(multiplexer, str(logdir)), RequestContext()
    found = provider.read_blob_sequences(context, experiment_id="", plugin_name="loss_slicer", downsample=1000)
    log: Log = {}
    for run, tags in found.items():
        for tag, sequence in tags.items():
            for datum in sequence:
                keys = [reference.blob_key for reference in datum.values]
                blobs: list[Any] = [provider.read_blob(context, blob_key=key) for key in keys]
                log.setdefault(run, {}).setdefault(tag, {})[datum.step] = decode_slice(blobs)
    return log


def event_files(logdir: Path) -> list[Path]:
    """All event files that hold something."""
    return sorted(file for file in logdir.rglob("*tfevents*") if file.stat().st_size)


def environment(**more: str) -> dict[str, str]:
    """This process's, without what changes colors, and with `more`. One thread, since tests share the cores."""
    plain = {name: value for name, value in os.environ.items() if name not in _COLOR_VARIABLES}
    return plain | {"COLUMNS": "120", "OMP_NUM_THREADS": "1"} | more


def run_process(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The installed command, with pipes for its streams."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_forked(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command in the current directory as a process that need not import what it needs."""
    return run_command(*arguments, env=environment(**variables), timeout=120)


@pytest.fixture(scope="session")
def tools() -> SimpleNamespace:
    """The functions above, since test files can't import one another."""
    return SimpleNamespace(
        COMMAND=COMMAND,
        EXAMPLE=EXAMPLE,
        FEW_STEPS=FEW_STEPS,
        MODULE=EXAMPLE / "subject.py",
        copy_checkpoints=copy_checkpoints,
        environment=environment,
        event_files=event_files,
        read_log=read_log,
        run_forked=run_forked,
        run_process=run_process,
    )


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory with `sgd/checkpoints`, three of the example's."""
    copy_checkpoints("sgd", tmp_path / "sgd")
    monkeypatch.chdir(tmp_path)
    for name in _COLOR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def call(workplace: Path) -> Callable[..., Result]:
    """Runs the command in this process, in `workplace`; only an exit is no failure of the test."""

    def invoke(*arguments: object) -> Result:
        result = CliRunner().invoke(app, list(map(str, arguments)))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def run(call: Callable[..., Result]) -> Callable[..., Result]:
    """`loss-slicer run` with the example's module on `workplace`'s checkpoints; later options win."""

    def invoke(*arguments: object, **options: Any) -> Result:
        chosen = {"module": EXAMPLE / "subject.py", "checkpoints": "sgd/checkpoints"} | options
        pairs = [part for name, value in chosen.items() if value is not None for part in (f"--{name}", value)]
        return call("run", *pairs, *arguments)

    return invoke
