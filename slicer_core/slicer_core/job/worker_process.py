"""A worker process of a run: `python -m slicer_core.job.worker_process SOCKET`. It loads the job, then serves."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from slicer_core.collector import lasting_imports
from slicer_core.errors import SlicerError
from slicer_core.executors.processes import answer, serve

if TYPE_CHECKING:
    from slicer_core.job.configuration import Job

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Until the run that started it is gone."""
    # Ctrl-C goes to all processes of a terminal; the run itself ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Until here it was blocked: what the user's code starts may hear of it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    serve(int(sys.argv[1]), _work)


def _work(hello: tuple[Job, list[str]], connection: Connection) -> None:
    job, path = hello
    # torch takes a second to import, in which the run that started this one may have ended.
    with lasting_imports():
        import torch

        from slicer_core.job.prepare import prepare
        from slicer_core.job.reporter import Reporter
        from slicer_core.job.work import TileEvaluator

    # The module finds what it finds in the run.
    sys.path[:] = path
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        evaluator = TileEvaluator(prepare(job, Reporter()))
    except SlicerError as error:
        connection.send(("failed", type(error)(str(error))))
        return
    answer(connection, evaluator.run, evaluator.decide_as)


if __name__ == "__main__":
    main()
