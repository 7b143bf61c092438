"""`run_job`: the loop over checkpoints, each from its tensors to a slice in the store and, through it, in the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

from slicer_core.checkpoints import Checkpoint
from slicer_core.choices import STRATEGY_NAMES, StrategyName
from slicer_core.errors import SlicerError, StoreError
from slicer_core.evaluate import EvaluationSettings, stored_sums
from slicer_core.job.configuration import Job
from slicer_core.job.made import decode_made, encode_made, made_tile
from slicer_core.job.prepare import PreparedJob, PreparedSource, describe_settings, prepare
from slicer_core.job.reporter import FailedCheckpoint, FinishedSlice, Reporter
from slicer_core.measures.surroundings import missing_measures, with_model_measures
from slicer_core.methods.assemble import POINTS, WHOLE, Tile, assemble, evaluate_plan, marker_tile
from slicer_core.methods.method import CenterPoint
from slicer_core.methods.preparation import Made, Preparation
from slicer_core.plan import SlicePlan
from slicer_core.slices import Slice, decode_slice, encode_slice, parse_header
from slicer_core.store import FILE_NAME, Store, StoredSlice, StoredTile, TileKey
from slicer_core.subject import LOSS, Fit

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


def run_job(job: Job, on_slice: OnSlice | None = None, reporter: Reporter | None = None) -> JobResult:
    """Slices every chosen checkpoint, going on from what earlier runs of the same job have stored.

    Nothing is written before all that can be checked has been. A checkpoint that fails does not stop the others.

    Raises:
        SlicerError: the job can't be run at all; nothing is written.
    """
    watcher = reporter or Reporter()
    prepared = prepare(job, watcher)
    outcome = _Outcome(watcher)
    for source in prepared.sources:
        for failure in source.failures:
            outcome.fail(failure)
        if source.selected:
            _run_source(prepared, source, on_slice, watcher, outcome)
    return outcome.result()


class _Outcome:
    """What a run gave so far. A failure is told once there is a slice: without one it is the error of the run."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._slices: list[FinishedSlice] = []
        self._failures: list[FailedCheckpoint] = []

    def add(self, result: FinishedSlice) -> None:
        """A slice is there."""
        if not self._slices:
            for failure in self._failures:
                self._reporter.failed(failure)
        self._slices.append(result)
        self._reporter.finished(result)

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
            raise self._failures[0].error
        return JobResult(slices=tuple(self._slices), failures=tuple(self._failures))


def _run_source(
    prepared: PreparedJob, source: PreparedSource, on_slice: OnSlice | None, reporter: Reporter, outcome: _Outcome
) -> None:
    path = source.run_dir
    runner = _SourceRunner(prepared, source, reporter)
    try:
        runner.open_stored()
        for checkpoint in source.selected:
            path = checkpoint.path
            try:
                result = runner.slice(checkpoint)
                if on_slice is not None:
                    on_slice(result, runner.view)
            except StoreError:
                raise
            except SlicerError as error:
                outcome.fail(FailedCheckpoint(path=path, error=error))
            else:
                outcome.add(result)
    except StoreError as error:
        # What comes after it could not be kept either.
        outcome.fail(FailedCheckpoint(path=path, error=error))
    finally:
        runner.close()


class _SourceRunner:
    """One source's checkpoints, against its store, which is opened when there is something to look up or to keep."""

    def __init__(self, prepared: PreparedJob, source: PreparedSource, reporter: Reporter) -> None:
        self._prepared = prepared
        self._source = source
        self._reporter = reporter
        self._job_hash = prepared.job_hash(source)
        self._path = source.run_dir / FILE_NAME
        self._store: Store | None = None
        self._noted: set[str] = set()

    def open_stored(self) -> None:
        """Looks at what earlier runs have stored, where there is something.

        Raises:
            StoreError: it is damaged, or in use by another run.
        """
        if self._path.exists():
            self._look_over(self._open())

    def slice(self, checkpoint: Checkpoint) -> FinishedSlice:
        """The checkpoint's slice, stored or new."""
        fingerprint = self._prepared.fingerprint(checkpoint)
        tag = self._prepared.job.tag
        there = self._store.slice(tag, checkpoint.step) if self._store is not None else None
        before = None
        if there is not None and (there.job, there.checkpoint) == (self._job_hash, fingerprint):
            before = decode_slice(there.blobs)
            if not missing_measures(before, self._prepared.measures):
                return self._finished(there, before, stored_before=True)
        data = self._evaluate(checkpoint, fingerprint, before)
        stored = StoredSlice(
            tag=tag,
            step=checkpoint.step,
            job=self._job_hash,
            checkpoint=fingerprint,
            wall_time=time.time(),
            blobs=encode_slice(data),
        )
        only_adds = self._open().put_slice(stored)
        return self._finished(stored, data, stored_before=False, only_adds=only_adds)

    def view(self) -> Iterator[FinishedSlice]:
        """See `View`."""
        was_open = self._store is not None
        store = self._open()
        try:
            for tag, step in _in_order_of_making(store.slices()):
                stored = store.slice(tag, step)
                if stored is not None:
                    yield self._finished(stored, decode_slice(stored.blobs), stored_before=True)
        finally:
            if not was_open:
                self.close()

    def close(self) -> None:
        """Lets go of the store."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _look_over(self, store: Store) -> None:
        """Settles what earlier runs left under the job's tag, so that a tag never mixes jobs or trainings."""
        tag, name = self._prepared.job.tag, self._source.name
        stored = store.tag_slices(tag)
        if self._prepared.job.fresh:
            aside = _aside(self._path)
            store.copy_to(aside)
            store.forget(self._job_hash)
            store.drop_tag(tag)
            self._reporter.note(f"{name}: what was there is kept aside in {aside}")
        elif any(there.job != self._job_hash for there in stored):
            self._reporter.note(
                f"{name}: tag {tag} held slices of a run with other options, module or data; they leave the log as the "
                "new ones come"
            )
        elif self._is_of_other_training(stored):
            store.drop_tag(tag)
            self._reporter.note(f"{name}: tag {tag} held slices of another training; they leave the log")

    def _is_of_other_training(self, stored: Sequence[StoredSlice]) -> bool:
        """A step that both have tells; without one, the folder that the checkpoints lay in."""
        by_step = {checkpoint.step: checkpoint for checkpoint in self._source.all_checkpoints}
        shared = [there for there in stored if there.step in by_step]
        if shared:
            return any(self._prepared.fingerprint(by_step[there.step]) != there.checkpoint for there in shared)
        folder = by_step[min(by_step)].path.parent.resolve()
        return any(Path(_checkpoint_path(there)).parent.resolve() != folder for there in stored)

    def _evaluate(self, checkpoint: Checkpoint, fingerprint: str, before: Slice | None) -> Slice:
        """The slice, where `before` is what there is of it already: all but measures that are asked for only now."""
        prepared, source = self._prepared, self._source
        state = prepared.state(checkpoint)
        scale_from = prepared.job.scale_from
        center = CenterPoint(
            wrapper=prepared.wrapper,
            state=state,
            scale_state=state if scale_from == "each" else prepared.other_state(source, scale_from),
            other=lambda name: prepared.other_state(source, name),
            preparation=self._preparation(fingerprint, self._label(checkpoint)),
        )
        plan = prepared.method.plan(center, prepared.options)
        for note in plan.notes:
            if note not in self._noted:
                self._noted.add(note)
                self._reporter.note(f"{source.name}: {note}")
        return with_model_measures(
            before or self._of_points(checkpoint, fingerprint, center, plan),
            prepared.measures,
            wrapper=prepared.wrapper,
            state=state,
            plan=plan,
            settings=prepared.settings,
            seed=prepared.job.seed,
        )

    def _of_points(self, checkpoint: Checkpoint, fingerprint: str, center: CenterPoint, plan: SlicePlan) -> Slice:
        prepared = self._prepared
        self._reporter.begin(self._label(checkpoint), plan.num_points * len(prepared.splits))

        def keep(split: str, name: str, tile: Tile) -> None:
            sums = {metric: values.to_bytes() for metric, values in tile.sums.items()}
            self._open().put_tile(self._key(fingerprint, name, split), StoredTile(sums=sums, how=tile.how))

        tiles = evaluate_plan(
            plan,
            center,
            splits=prepared.splits,
            settings=self._settings(),
            batchnorm=prepared.batchnorm,
            advance=self._reporter.advance,
            done=self._stored_tiles(plan, fingerprint),
            on_tile=keep,
        )
        return assemble(
            plan,
            tiles,
            center,
            config=describe_settings(prepared),
            checkpoint=_described(checkpoint, prepared.fit(checkpoint)),
            metrics=prepared.metrics,
            weight_decay=prepared.settings.weight_decay,
        )

    def _label(self, checkpoint: Checkpoint) -> str:
        return f"{self._source.name}, {checkpoint.step_unit} {checkpoint.step}"

    def _preparation(self, fingerprint: str, label: str) -> Preparation:
        """What took long to make is kept beside the tiles, so that a run that goes on has the same points."""

        def kept(name: str, make: Callable[[], Made]) -> Made:
            key = self._key(fingerprint, made_tile(name), "")
            stored = None if self._store is None else self._store.tile(key)
            if stored is not None:
                return decode_made(stored)
            made = make()
            encoded = encode_made(made)
            if encoded is not None:
                self._open().put_tile(key, encoded)
            return made

        return Preparation(
            settings=self._settings(),
            split=self._prepared.splits[0],
            begin=lambda what, steps: self._reporter.begin(f"{label}: {what}", steps),
            advance=self._reporter.advance,
            kept=kept,
        )

    def _settings(self) -> EvaluationSettings:
        """Where a strategy was to be chosen and an earlier run chose one, that one, so that the numbers go on alike."""
        settings = self._prepared.settings
        chosen = self._store.strategy_of(self._job_hash) if self._store is not None else None
        if settings.strategy == "auto" and chosen in STRATEGY_NAMES:
            return replace(settings, strategy=cast("StrategyName", chosen))
        return settings

    def _stored_tiles(self, plan: SlicePlan, fingerprint: str) -> dict[tuple[str, str], Tile]:
        """What an interrupted run of the same job left of the checkpoint."""
        if self._store is None:
            return {}
        found: dict[tuple[str, str], Tile] = {}
        # The loss comes first in a slice, and the store has the names in an order of its own.
        quantities = (LOSS, *self._prepared.wrapper.metrics)
        for split in self._prepared.splits:
            for name in (POINTS, WHOLE, *(marker_tile(marker) for marker in plan.markers)):
                stored = self._store.tile(self._key(fingerprint, name, split))
                if stored is not None and set(quantities) <= set(stored.sums):
                    sums = {name: stored_sums(stored.sums[name]) for name in quantities}
                    found[split, name] = Tile(sums=sums, how=stored.how)
        return found

    def _key(self, fingerprint: str, tile: str, split: str) -> TileKey:
        return TileKey(job=self._job_hash, checkpoint=fingerprint, tile=tile, split=split)

    def _open(self) -> Store:
        if self._store is None:
            self._store = Store(self._path)
            self._store.add_job(self._job_hash, self._prepared.job.to_dict())
        return self._store

    def _finished(
        self, stored: StoredSlice, data: Slice, *, stored_before: bool, only_adds: bool = False
    ) -> FinishedSlice:
        return FinishedSlice(
            source=self._source.name,
            run_dir=self._source.run_dir,
            tag=stored.tag,
            step=stored.step,
            wall_time=stored.wall_time,
            data=data,
            stored=stored_before,
            only_adds=only_adds,
        )


def _in_order_of_making(stored: Iterable[StoredSlice]) -> list[tuple[str, int]]:
    """Tags and steps as a log has them to which each was appended when it was made, but the steps of a tag ascend.

    So a log that grew by appending is the same when it is made again.
    """
    latest: dict[str, float] = {}
    keys: list[tuple[float, str, int]] = []
    for entry in stored:
        latest[entry.tag] = max(entry.wall_time, latest.get(entry.tag, entry.wall_time))
        keys.append((latest[entry.tag], entry.tag, entry.step))
    return [(tag, step) for _, tag, step in sorted(keys)]


def _described(checkpoint: Checkpoint, fit: Fit) -> dict[str, Any]:
    """The checkpoint in the slice's header, with how it became the model's where that was not plain."""
    described = {"path": str(checkpoint.path), "step": checkpoint.step, "step_unit": checkpoint.step_unit}
    if fit.notes:
        described["notes"] = list(fit.notes)
    if fit.from_module:
        described["from_module"] = list(fit.from_module)
    return described


def _checkpoint_path(stored: StoredSlice) -> str:
    checkpoint = parse_header(stored.blobs[0]).get("checkpoint") or {}
    return str(checkpoint.get("path", ""))


def _aside(path: Path) -> Path:
    """A name for a copy of the store, by the time of its last change."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(path.stat().st_mtime))
    number = 0
    while (aside := path.with_name(f"slices.{stamp}{f'-{number}' if number else ''}.sqlite")).exists():
        number += 1
    return aside
