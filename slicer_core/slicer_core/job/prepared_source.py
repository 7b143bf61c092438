"""Each source of a job: which of its checkpoints are to be sliced, which can't be, and where the results go."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slicer_core.checkpoints import Checkpoint, ReadOptions, Source, open_checkpoint, select_steps
from slicer_core.errors import CheckpointError, SlicerError, UsageError
from slicer_core.job.configuration import Job
from slicer_core.job.reporter import FailedCheckpoint, Reporter
from slicer_core.methods.method import Method
from slicer_core.subject import Fit, ModelWrapper, other_extra_state, require_fit

LOG_FOLDER = "loss_slicer"
POINT_WORDS = ("first", "middle", "last")


@dataclass(frozen=True, kw_only=True)
class PreparedSource:
    """One training: the checkpoints to slice, ascending, those that can't be, and why others are left out."""

    name: str
    run_dir: Path
    all_checkpoints: tuple[Checkpoint, ...]
    selected: tuple[Checkpoint, ...]
    failures: tuple[FailedCheckpoint, ...]
    skipped: tuple[str, ...] = ()

    def checkpoint_at(self, step: int) -> Checkpoint:
        """The selected checkpoint of that step."""
        return next(checkpoint for checkpoint in self.selected if checkpoint.step == step)


def prepare_source(
    source: Source, job: Job, method: Method, wrapper: ModelWrapper, reporter: Reporter, fits: dict[Path, Fit]
) -> PreparedSource:
    """The source with the checkpoints that fit, whose fits are added to `fits`; what is done to them is told once."""
    steps = [checkpoint.step for checkpoint in source.checkpoints]
    if job.center != "each" and method.center in method.references():
        raise UsageError(
            f"--center {job.center} has no meaning with --method {job.method}, whose center is the first of "
            f"{method.points_option}"
        )
    around = job.center if job.center != "each" else method.center or "each"
    point_option = "--center" if job.center != "each" else method.points_option
    if around == "each":
        chosen = select_steps(source.checkpoints, job.steps)
        skipped = method.steps_to_skip(steps)
    elif job.steps != "all":
        what = f"--method {job.method}" if job.center == "each" else f"--center {job.center}"
        raise UsageError(f"{what} takes one slice around one point, so --steps has no meaning with it")
    else:
        chosen, skipped = (named_checkpoint(source.checkpoints, around, point_option, job),), {}
    failures = [FailedCheckpoint(path=path, error=error) for path, error in source.failures]
    selected, reasons = [], []
    for checkpoint in chosen:
        if checkpoint.step in skipped:
            reasons.append(f"{checkpoint.label} is skipped: {skipped[checkpoint.step]}")
            reporter.note(f"{source.name}, {reasons[-1]}")
            continue
        try:
            fits[checkpoint.path] = fit_of(checkpoint, wrapper)
        except SlicerError as error:
            failures.append(FailedCheckpoint(path=checkpoint.path, error=error, label=checkpoint.label))
        else:
            selected.append(checkpoint)
    for note in dict.fromkeys(note for checkpoint in selected for note in fits[checkpoint.path].notes):
        reporter.note(f"{source.name}: {note}")
    name = _in_utf8(source.name)
    return PreparedSource(
        name=name,
        run_dir=Path(os.path.expanduser(job.logdir)) / name / LOG_FOLDER,
        all_checkpoints=source.checkpoints,
        selected=tuple(selected),
        failures=tuple(failures),
        skipped=tuple(reasons),
    )


def _in_utf8(name: str) -> str:
    """TensorBoard reads a run only where its name is UTF-8. Other bytes become %XX, so that two names stay two."""
    text = os.fsencode(name).decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", text)


def fit_of(checkpoint: Checkpoint, wrapper: ModelWrapper) -> Fit:
    """See `require_fit`; what modules have saved beside their tensors has to be the model's own.

    Raises:
        CheckpointError: it does not fit.
    """
    contents = checkpoint.contents()
    fit = require_fit(contents.tensors, wrapper.model, source=str(checkpoint.path))
    other = other_extra_state(contents.extra, wrapper.model)
    if other is not None:
        raise CheckpointError(f"{checkpoint.path} does not fit the model: {other}")
    return fit


def named_checkpoint(checkpoints: tuple[Checkpoint, ...], name: str, option: str, job: Job) -> Checkpoint:
    """The checkpoint called by a word, a step number, or its path, as the option names it.

    Raises:
        SlicerError: there is none.
    """
    if name in POINT_WORDS:
        return checkpoints[{"first": 0, "middle": len(checkpoints) // 2, "last": -1}[name]]
    by_step: Mapping[str, Checkpoint] = {str(checkpoint.step): checkpoint for checkpoint in checkpoints}
    if name in by_step:
        return by_step[name]
    path = Path(os.path.expanduser(name))
    if not path.exists():
        raise UsageError(
            f"{option} {name!r} is neither {', '.join(POINT_WORDS)}, one of the steps {', '.join(by_step)}, nor a "
            "checkpoint file"
        )
    return open_checkpoint(path, read_options(job))[0]


def read_options(job: Job) -> ReadOptions:
    """How the job has checkpoints read."""
    return ReadOptions(weights=job.weights, trusted=job.trust_checkpoint)


def check_some_left(sources: Sequence[PreparedSource]) -> None:
    """Raises the first thing that is wrong with a checkpoint where none of them can be sliced."""
    if any(source.selected for source in sources):
        return
    failures = [failure for source in sources for failure in source.failures]
    if not failures:
        skipped = ", ".join(f"{source.name}, {reason}" for source in sources for reason in source.skipped)
        raise UsageError(f"no checkpoint is left to slice: {skipped}")
    more = f" ({len(failures)} checkpoints failed)" if len(failures) > 1 else ""
    raise CheckpointError(f"{failures[0].error}{more}")


def check_writable(run_dir: Path) -> None:
    """That results could be kept is known before they are computed; nothing is made yet."""
    there = next(folder for folder in (run_dir, *run_dir.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise UsageError(f"results go to {run_dir}, but {there} is not a directory: give another --logdir")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"results go to {run_dir}, but {there} can't be written to: give another --logdir")
