"""What the stores of a log hold: which slices are done, how far others are, and who is at work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slicer_core.choices import is_preview
from slicer_core.errors import StoreError, UsageError
from slicer_core.job.shards import shard_files
from slicer_core.job.tiles import disjoint
from slicer_core.methods.table import METHODS
from slicer_core.store import FILE_NAME, Store, holder_of

OUTLINE = "outline"
"""The note of a job with the points of a slice, its splits, and the step of each checkpoint by its fingerprint."""


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """One job of a store, under one of the tags that it was run with.

    `partly`: the share of points that is there by step, of checkpoints without a slice yet. `replaced`: steps whose
    points are all there, where the tag has slices of another job in place of this one's.
    """

    job: str
    tag: str
    method: str
    steps_done: tuple[int, ...]
    partly: dict[int, float]
    replaced: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StoreStatus:
    """One store. `holder`: who has it now; `fault`: what is wrong with it."""

    path: str
    num_bytes: int
    holder: str | None
    fault: str | None
    jobs: tuple[JobStatus, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def log_status(logdir: Path) -> list[StoreStatus]:
    """All stores below a log directory. Nothing is written, and a run that is at work is not disturbed.

    Raises:
        UsageError: there is no such directory, or no store in it.
    """
    if not logdir.is_dir():
        raise UsageError(f"there is no log directory {logdir}: `loss-slicer run --logdir {logdir} …` makes one")
    found = [_store_status(path) for run_dir in run_dirs(logdir) for path in _stores(run_dir)]
    if not found:
        raise UsageError(f"{logdir} has no results of `loss-slicer run`: give the --logdir of a run")
    return found


def run_dirs(logdir: Path) -> list[Path]:
    """The run directories below a log directory that have a store."""
    return sorted({path.parent for path in logdir.rglob("slices*.sqlite")})


def _stores(run_dir: Path) -> Iterator[Path]:
    if (run_dir / FILE_NAME).exists():
        yield run_dir / FILE_NAME
    yield from shard_files(run_dir)


def _store_status(path: Path) -> StoreStatus:
    holder, fault, jobs = holder_of(path), None, ()
    # What is at work is in the write-ahead log first.
    log = path.with_name(path.name + "-wal")
    try:
        with Store(path, reading=True) as store:
            faults = store.faults()
            fault = "; ".join(faults) or None
            jobs = tuple(_job_statuses(store))
    except StoreError as error:
        fault = str(error)
    return StoreStatus(
        path=str(path),
        num_bytes=path.stat().st_size + (log.stat().st_size if log.exists() else 0),
        holder=None if holder is None else holder.describe(),
        fault=fault,
        jobs=jobs,
    )


def _job_statuses(store: Store) -> Iterator[JobStatus]:
    slices = list(store.slices())
    for job, config in store.jobs().items():
        outline = store.note(job, OUTLINE) or {}
        own = [entry for entry in slices if entry.job == job and not is_preview(entry.tag)]
        done = {entry.checkpoint for entry in own}
        # What a run under another tag finds stored is of the same job: its points are not evaluated for each name.
        by_tag: dict[str, set[int]] = {}
        for entry in own:
            by_tag.setdefault(entry.tag, set()).add(entry.step)
        tag = config.get("name") or config.get("method", "")
        is_replaced = any(entry.tag == tag and entry.job != job for entry in slices)
        partly: dict[int, float] = {}
        for checkpoint in store.checkpoints(job):
            step = outline.get("steps", {}).get(checkpoint)
            if step is None or checkpoint in done:
                continue
            names = store.tile_names(job, checkpoint)
            total = outline["points"] * len(outline["splits"])
            points = sum(
                stop - start
                for split in outline["splits"]
                for start, stop in disjoint(name for own, name in names if own == split)
            )
            partly[step] = points / total if total else 0.0
        replaced = {step for step, share in partly.items() if is_replaced and share == 1.0}
        if partly:
            by_tag.setdefault(tag, set())
        method = config.get("method", "")
        for name, steps in by_tag.items():
            is_last = name == tag
            yield JobStatus(
                job=job,
                tag=name,
                method=method if method in METHODS else f"{method} (unknown here)",
                steps_done=tuple(sorted(steps)),
                partly={step: share for step, share in sorted(partly.items()) if is_last and step not in replaced},
                replaced=tuple(sorted(replaced)) if is_last else (),
            )
