"""Processes of the command or a script, forked from one that has imported what they need, which takes seconds.

All but the interpreter's start and end is as where a shell starts them: arguments, streams, environment,
session, signals, exit status.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import loss_slicer

IMPORTED = [
    "loss_slicer.app",
    "loss_slicer.progress",
    "loss_slicer.summary",
    "slicer_core.examples",
    "slicer_core.job",
    "tensorboard_loss_slicer.job_log",
]
"""What the processes have imported when they begin."""


class ForkedProcess:
    """`main()` with arguments, in the current directory, with the part of `subprocess.Popen` that is used here."""

    def __init__(self, main: Callable[[], object], arguments: Sequence[object], env: Mapping[str, str]) -> None:
        self.args = list(map(str, arguments))
        self._streams = [tempfile.NamedTemporaryFile() for _ in range(2)]  # noqa: SIM115 (read when the process is done)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        # Read when torch is imported, which is there.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        forkserver.ensure_running()
        names = [stream.name for stream in self._streams]
        self._process = context.Process(target=_become, args=(main, self.args, dict(env), names))
        self._process.start()

    @property
    def pid(self) -> int:
        """The process's number, which is that of its session too."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Minus the number of a signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends it to the process alone."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for its end; what it wrote to stdout and stderr."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        output, errors = (Path(stream.name).read_text("utf-8") for stream in self._streams)
        return output, errors


class CommandProcess(ForkedProcess):
    """`loss-slicer ARGUMENTS`."""

    def __init__(self, *arguments: object, env: Mapping[str, str]) -> None:
        super().__init__(loss_slicer.main, ["loss-slicer", *arguments], env)


def run_command(*arguments: object, env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return _end(CommandProcess(*arguments, env=env), timeout)


def run_script(
    code: str, *arguments: object, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Runs Python code to its end."""
    return _end(ForkedProcess(partial(exec, code, {"__name__": "__main__"}), ["-c", *arguments], env), timeout)


def _end(process: ForkedProcess, timeout: float) -> subprocess.CompletedProcess[str]:
    try:
        output, errors = process.communicate(timeout)
    finally:
        process.kill()
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def _become(
    main: Callable[[], object], arguments: Sequence[str], env: Mapping[str, str], streams: Sequence[str]
) -> None:
    """What is done in the process."""
    os.setsid()
    # As in a process that was not itself started by this library.
    multiprocessing.set_start_method(None, force=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    for descriptor, name in enumerate(streams, start=1):
        file = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    encoding = env.get("PYTHONIOENCODING", "utf-8")
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding, write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding, "backslashreplace", write_through=True)
    sys.argv = list(arguments)
    main()
