"""`run_job`: the loop over checkpoints, each from its tensors to a slice in the store and, through it, in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from slicer_core.checkpoints import Checkpoint
from slicer_core.errors import ModuleError, SlicerError, StoreError
from slicer_core.executors import Executor, Failure
from slicer_core.job.checkpoint_work import CheckpointWork
from slicer_core.job.configuration import Job
from slicer_core.job.executor import open_executor
from slicer_core.job.prepare import prepare
from slicer_core.job.prepared_source import PreparedSource
from slicer_core.job.reporter import FailedCheckpoint, FinishedSlice, Reporter
from slicer_core.job.shards import Shard
from slicer_core.job.source import SourceRunner
from slicer_core.job.work import TileEvaluator, TileTask

View = Callable[[], Iterator[FinishedSlice]]
"""All slices of a run directory, those of a tag by ascending step, read from the store when it is called."""


class OnSlice(Protocol):
    """Called for each finished slice, with the view of all that the run directory's store holds."""

    def __call__(self, result: FinishedSlice, view: View) -> None:
        """Shows the slice in the log, by adding it or by making the log again from the view."""


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What a run gave: slices new and stored, and checkpoints that failed."""

    slices: tuple[FinishedSlice, ...]
    failures: tuple[FailedCheckpoint, ...]

    @property
    def num_new(self) -> int:
        """How many slices this run evaluated."""
        return sum(not result.stored for result in self.slices)


def run_job(
    job: Job,
    on_slice: OnSlice | None = None,
    reporter: Reporter | None = None,
    *,
    shard: Shard | None = None,
    merging: bool = False,
) -> JobResult:
    """Slices every chosen checkpoint, going on from what earlier runs of the same job have stored.

    Nothing is written before all that can be checked has been. A checkpoint that fails does not stop the others.
    `shard`: its tiles only, into a store of its own, and no slices. `merging`: nothing is evaluated; slices are made of
    what shards have left beside the store.

    Raises:
        SlicerError: the job can't be run at all; nothing is written.
    """
    watcher = reporter or Reporter()
    prepared = prepare(job, watcher)
    outcome = _Outcome(watcher, job.strategy)
    evaluator = TileEvaluator(prepared)
    with open_executor(prepared, evaluator, watcher) as executor:
        for source in prepared.sources:
            for failure in source.failures:
                outcome.fail(failure)
            if source.selected:
                runner = SourceRunner(prepared, source, watcher, executor, evaluator, shard=shard, merging=merging)
                _run_source(source, runner, executor, on_slice, outcome, shard=shard, merging=merging)
    return outcome.result()


class _Outcome:
    """What a run gave so far. A failure is told once there is a slice: without one it is the error of the run."""

    def __init__(self, reporter: Reporter, strategy: str) -> None:
        self._reporter, self._strategy = reporter, strategy
        self._noted: set[str] = set()
        self._slices: list[FinishedSlice] = []
        self._failures: list[FailedCheckpoint] = []

    def add(self, result: FinishedSlice) -> None:
        """A slice is there."""
        if not self._slices:
            for failure in self._failures:
                self._reporter.failed(failure)
        self._slices.append(result)
        self._reporter.finished(result)
        self._note_strategy(result)

    def _note_strategy(self, result: FinishedSlice) -> None:
        """That another ran than was asked for, once for each reason."""
        ran, reason = (str(result.data.evaluation.get(key, "")) for key in ("strategy", "reason"))
        is_kept = self._strategy in ("auto", *ran.split("+")) or ran.startswith(f"{self._strategy}-compiled")
        if not is_kept and reason and reason not in self._noted:
            self._noted.add(reason)
            self._reporter.note(f"--strategy {self._strategy} was not kept, {ran} ran: {reason}")

    def fail(self, failure: FailedCheckpoint) -> None:
        """A checkpoint has no slice.

        Raises:
            SlicerError: there is no slice yet, and the checkpoint before failed in the same words: the fault is in the
                job, and would be told for each of them.
        """
        if self._slices:
            self._reporter.failed(failure)
        elif self._failures and str(self._failures[-1].error) == str(failure.error):
            raise failure.error
        self._failures.append(failure)

    def result(self) -> JobResult:
        """The whole.

        Raises:
            SlicerError: there is no slice.
        """
        if self._failures and not self._slices:
            for failure in self._failures[1:]:
                self._reporter.failed(failure)
            first = self._failures[0]
            if isinstance(first.error, ModuleError) or str(first.error).startswith("--"):
                # The fault is in the user's code or in an option, not in the checkpoint.
                raise first.error
            raise first.named_error() from first.error
        return JobResult(slices=tuple(self._slices), failures=tuple(self._failures))


def _run_source(
    source: PreparedSource,
    runner: SourceRunner,
    executor: Executor[TileTask],
    on_slice: OnSlice | None,
    outcome: _Outcome,
    *,
    shard: Shard | None,
    merging: bool,
) -> None:
    working: dict[int, CheckpointWork] = {}
    path = source.run_dir

    def fail(checkpoint: Checkpoint, error: SlicerError) -> None:
        working.pop(checkpoint.step, None)
        outcome.fail(FailedCheckpoint(path=checkpoint.path, error=error, label=checkpoint.label))

    def finish(checkpoint: Checkpoint, make: Callable[[], FinishedSlice]) -> None:
        """Logs the slice; what is wrong with it is wrong with the checkpoint."""
        nonlocal path
        path = checkpoint.path
        working.pop(checkpoint.step, None)
        try:
            result = make()
            if on_slice is not None:
                on_slice(result, runner.view)
        except StoreError:
            raise
        except SlicerError as error:
            fail(checkpoint, error)
        else:
            outcome.add(result)

    def tasks() -> Iterator[TileTask]:
        nonlocal path
        for checkpoint in source.selected:
            path = checkpoint.path
            there = runner.stored(checkpoint)
            if there is not None and not runner.lacks_measures(there):
                finish(checkpoint, lambda there=there: there)
                continue
            try:
                before = None if there is None else there.data
                work = working[checkpoint.step] = runner.begin(checkpoint, before)
            except StoreError:
                raise
            except SlicerError as error:
                fail(checkpoint, error)
                continue
            if not work.num_left and shard is None:
                finish(checkpoint, lambda work=work: runner.finish(work))
            if work.num_left and merging:
                fail(checkpoint, work.lacking_error(runner.shard_faults))
            for task in work.left:
                # Another of its tiles may have failed meanwhile.
                if task.step in working:
                    yield task

    try:
        runner.open_stored()
        for task, result in executor.results(tasks()):
            work = working.get(task.step)
            if work is None:
                continue
            if isinstance(result, Failure):
                if not result.is_set_aside:
                    fail(work.checkpoint, result.error)
                    continue
                runner.set_aside(work, task, result.error)
            else:
                runner.keep(work, result)
            if work.num_left:
                preview = runner.preview(work)
                if preview is not None and on_slice is not None:
                    on_slice(preview, runner.view)
                continue
            if shard is not None and not work.set_aside:
                del working[task.step]
            elif work.set_aside:
                fail(work.checkpoint, work.set_aside_error())
            else:
                finish(work.checkpoint, lambda work=work: runner.finish(work))
    except StoreError as error:
        # What comes after it could not be kept either.
        outcome.fail(FailedCheckpoint(path=path, error=error))
    finally:
        runner.close()
