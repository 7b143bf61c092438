"""Which executor runs a job's tiles, and what its workers are given."""

from __future__ import annotations

import sys
from dataclasses import replace

from slicer_core.executors import Executor, InProcess, Processes
from slicer_core.job.configuration import Job
from slicer_core.job.prepare import PreparedJob
from slicer_core.job.reporter import Reporter
from slicer_core.job.subject_source import module_text
from slicer_core.job.work import TileEvaluator, TileTask
from slicer_core.job.workers import worker_environment
from slicer_core.subject import ModuleFile


def open_executor(prepared: PreparedJob, evaluator: TileEvaluator, reporter: Reporter) -> Executor[TileTask]:
    """In this process, in as many as the job says, or in actors of a Ray cluster."""
    workers = prepared.job.workers
    if prepared.job.executor == "ray":
        from slicer_core.job.on_ray import on_ray

        return on_ray(prepared, worker_job(prepared), look=lambda: reporter.advance(0.0))
    if workers is None or workers == 1:

        def advance(num_points: float) -> None:
            reporter.advance(num_points * prepared.split_share)

        return InProcess(lambda task: evaluator.run(task, advance), evaluator.decide_as)
    return Processes(
        # -P: files of the current folder that are called like modules of Python or torch are not taken for those.
        [sys.executable, "-P", "-m", "slicer_core.job.worker_process"],
        (worker_job(prepared), list(sys.path)),
        [worker_environment(number, workers, prepared.job.device) for number in range(workers)],
        look=lambda: reporter.advance(0.0),
    )


def worker_job(prepared: PreparedJob) -> Job:
    """The job as one of several workers is told it: it has no workers of its own, and the module by its path.

    A worker sees one GPU only, so that its number is another there. On a cluster the memory budget is that of each
    machine, or GPU; actors share it there, since nothing here tells which of them are together.
    """
    module = module_text(prepared.module) if isinstance(prepared.module, ModuleFile) else None
    device = prepared.job.device.partition(":")[0]
    budget = prepared.settings.memory_budget
    return replace(
        prepared.job,
        module=module,
        device=device,
        workers=1,
        memory_budget=None if budget is None else str(budget),
        executor="local",
        ray_address=None,
        fresh=False,
    )
