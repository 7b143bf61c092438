"""`loss-slicer run` stopped in the middle in every way: the same command goes on, and the result is the same."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest

MODULE = '''
"""The digits, with a loss that counts its calls and sends a signal to its own process at the one it is told to."""
import os
import signal

import torch
from slicer_core import ModelWrapper
from slicer_core.examples import load_digits

calls = 0


def loss(output, target):
    global calls
    calls += 1
    with open(os.environ["CALLS"], "a") as file:
        file.write(".")
    if calls == int(os.environ.get("AT_CALL", 0)):
        os.kill(os.getpid(), getattr(signal, os.environ["SIGNAL"]))
    return torch.nn.functional.cross_entropy(output, target, reduction="none")


def accuracy(output, target):
    return (output.argmax(dim=1) == target).float()


def build():
    nn = torch.nn
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return ModelWrapper(model, loss, *load_digits(), metrics={"accuracy": accuracy})
'''


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """One process, how often it called the loss, and the steps that were stored after it."""

    process: CompletedProcess[str]
    num_calls: int
    stored: list[int]


@dataclass(frozen=True, kw_only=True)
class Story:
    """A run that was stopped four times, and one that was not."""

    folder: Path
    killed: Stopped
    terminated: Stopped
    interrupted: Stopped
    asked: Stopped
    finished: Stopped
    undisturbed: Stopped

    @property
    def in_order(self) -> list[Stopped]:
        return [self.killed, self.terminated, self.interrupted, self.asked, self.finished]


@pytest.fixture(scope="module")
def _interrupts_are_heard() -> Iterator[None]:
    """Where the tests run in the background, a shell has told them, and so what they start, to ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def story(tools: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory, _interrupts_are_heard: None) -> Story:
    folder = tmp_path_factory.mktemp("stopped")
    tools.copy_checkpoints("sgd", folder / "sgd", (0, 200, 2000))
    (folder / "subject.py").write_text(MODULE)
    calls = folder / "calls"

    def run(logdir: str, **variables: str) -> Stopped:
        calls.write_text("")
        arguments = (
            "run", "--checkpoints", "sgd/checkpoints", "--grid", "5x9", "--split", "both", "--strategy", "loop",
            "--logdir", logdir,
        )  # fmt: skip
        # The installed command once; where the others stop, nothing is imported any more.
        if variables.get("SIGNAL") == "SIGTERM":
            process = tools.run_process(*arguments, cwd=folder, CALLS=str(calls), **variables)
        else:
            with contextlib.chdir(folder):
                process = tools.run_forked(*arguments, CALLS=str(calls), **variables)
        store = folder / logdir / "sgd" / "loss_slicer" / "slices.sqlite"
        return Stopped(process=process, num_calls=len(calls.read_text()), stored=stored_steps(store))

    undisturbed = run("whole")
    # Each of the three checkpoints has a train and a test part, as long as one another.
    half_part = undisturbed.num_calls // 12
    return Story(
        folder=folder,
        undisturbed=undisturbed,
        killed=run("runs", SIGNAL="SIGKILL", AT_CALL=str(5 * half_part)),
        terminated=run("runs", SIGNAL="SIGTERM", AT_CALL=str(3 * half_part)),
        # The second checkpoint's test part was left, so that this is in the third's train part.
        interrupted=run("runs", SIGNAL="SIGINT", AT_CALL=str(3 * half_part)),
        asked=run("runs", SIGNAL="SIGUSR1", AT_CALL=str(half_part)),
        finished=run("runs"),
    )


def stored_steps(store: Path) -> list[int]:
    if not store.exists():
        return []
    connection = sqlite3.connect(store)
    steps = [step for (step,) in connection.execute("SELECT step FROM slices ORDER BY step")]
    connection.close()
    return steps


def test_each_signal_has_its_exit_status(story: Story) -> None:
    statuses = [stopped.process.returncode for stopped in story.in_order]
    assert statuses == [-signal.SIGKILL, 75, 130, 75, 0]
    assert story.undisturbed.process.returncode == 0


def test_a_stop_says_that_the_same_command_goes_on_and_nothing_else(story: Story) -> None:
    for stopped in (story.terminated, story.interrupted, story.asked):
        assert "the same command goes on from there" in stopped.process.stderr.splitlines()[-1]
        assert "Traceback" not in stopped.process.stderr
        assert stopped.process.stdout == ""


def test_what_was_finished_is_not_evaluated_again(story: Story) -> None:
    stored = [stopped.stored for stopped in story.in_order]
    assert stored[0] == [0]
    assert stored[-1] == [0, 200, 2000]
    assert all(before == after[: len(before)] for before, after in pairwise(stored))
    # The killed one left the first checkpoint and tiles of the second, so that even four stops cost little.
    assert story.finished.num_calls < story.undisturbed.num_calls
    assert story.finished.process.stderr.count("(stored)") == len(stored[-2])


def test_the_arrays_are_those_of_an_uninterrupted_run_to_the_bit(story: Story, tools: SimpleNamespace) -> None:
    went_on = tools.read_log(story.folder / "runs")["sgd/loss_slicer"]["random2d"]
    at_once = tools.read_log(story.folder / "whole")["sgd/loss_slicer"]["random2d"]
    assert list(went_on) == list(at_once) == [0, 200, 2000]
    for step, expected in at_once.items():
        found = went_on[step]
        assert [(array.name, array.split, array.role) for array in found.arrays] == [
            (array.name, array.split, array.role) for array in expected.arrays
        ]
        assert (found.arrays[0].name, found.arrays[0].split) == ("loss", "train")
        for mine, other in zip(found.arrays, expected.arrays, strict=True):
            assert mine.values.tobytes() == other.values.tobytes()
        assert (found.center, found.directions, found.cosine) == (expected.center, expected.directions, expected.cosine)


def test_one_event_file_is_left(story: Story, tools: SimpleNamespace) -> None:
    assert len(tools.event_files(story.folder / "runs")) == 1


def test_a_stop_while_the_module_loads_writes_nothing(tools: SimpleNamespace, tmp_path: Path) -> None:
    tools.copy_checkpoints("sgd", tmp_path / "sgd", (0,))
    slow = "import os, signal, time\ndef build():\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(60)\n"
    (tmp_path / "subject.py").write_text(slow)
    done = tools.run_process("run", "--checkpoints", "sgd/checkpoints", cwd=tmp_path)
    assert done.returncode == 75
    assert not (tmp_path / "runs").exists()


def test_a_stop_that_the_users_code_swallows_is_heeded_all_the_same(
    run: Callable[..., object], workplace: Path, tools: SimpleNamespace
) -> None:
    swallowing = MODULE.replace(
        'os.kill(os.getpid(), getattr(signal, os.environ["SIGNAL"]))',
        "try:\n            os.kill(os.getpid(), signal.SIGTERM)\n        except BaseException:\n            pass",
    )
    (workplace / "swallowing.py").write_text(swallowing)
    done = tools.run_forked(
        "run", "--checkpoints", "sgd/checkpoints", "--module", "swallowing.py", "--grid", "3",
        "--strategy", "loop", CALLS="calls", AT_CALL="20",
    )  # fmt: skip
    assert done.returncode == 75, done.stderr


def test_signals_that_the_process_was_told_to_ignore_stay_ignored(workplace: Path, tools: SimpleNamespace) -> None:
    (workplace / "subject.py").write_text(MODULE + "\n\nassert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN\n")
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        done = tools.run_process(
            "run", "--checkpoints", "sgd/checkpoints", "--grid", "3", "--steps", "last", "-q",
            "--strategy", "loop", cwd=workplace, CALLS="calls", AT_CALL="10", SIGNAL="SIGUSR1",
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("_interrupts_are_heard")
def test_an_interrupt_while_it_starts_is_no_traceback(tools: SimpleNamespace, tmp_path: Path) -> None:
    # In place of what the command imports first.
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    done = tools.run_process("status", "runs", cwd=tmp_path, PYTHONPATH=paths)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.usefixtures("_interrupts_are_heard")
def test_an_interrupt_while_torch_is_imported_waits_for_its_end(tools: SimpleNamespace, tmp_path: Path) -> None:
    # In place of torch, whose C++ code aborts where an exception comes up in the middle of it.
    (tmp_path / "torch.py").write_text(
        "import os, signal, sys\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    os.abort()\n"
        f"sys.path.remove({str(tmp_path)!r})\n"
        "del sys.modules['torch']\n"
        "import torch\n"
    )
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    done = tools.run_process("run", "--checkpoints", "nowhere", cwd=tmp_path, PYTHONPATH=paths)
    assert done.returncode == 130, done.stderr
    assert done.stderr == "interrupted: what was finished is kept; the same command goes on from there\n"


@pytest.mark.usefixtures("_interrupts_are_heard")
def test_an_interrupt_while_the_interpreter_ends_leaves_the_status(tools: SimpleNamespace, tmp_path: Path) -> None:
    # In place of what the command imports first: it is done, and of what is left an object is the last to go.
    (tmp_path / "typer.py").write_text(
        "import builtins, os, signal\n"
        "class Last:\n"
        "    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGINT):\n"
        "        kill(process, number)\n"
        "builtins.last = Last()\n"
        "raise SystemExit(3)\n"
    )
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    done = tools.run_process("status", "runs", cwd=tmp_path, PYTHONPATH=paths)
    assert (done.returncode, done.stderr) == (3, "")
