"""One source's checkpoints against its store: what is there, what is left, and the slices that are made of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from slicer_core.checkpoints import Checkpoint
from slicer_core.errors import SlicerError
from slicer_core.evaluate import stored_sums
from slicer_core.executors import Executor, Failure
from slicer_core.job.aside import aside_name, move_aside_if_damaged
from slicer_core.job.assembled import assembled_slice
from slicer_core.job.center_check import center_difference, quantities
from slicer_core.job.checkpoint_work import CheckpointWork
from slicer_core.job.decided import keep_decisions, stored_decisions
from slicer_core.job.made import made_once, made_tile
from slicer_core.job.merging import import_shard
from slicer_core.job.other_training import HELD_OTHERS, beside_others, is_of_other_training, note_folder
from slicer_core.job.prepare import PreparedJob
from slicer_core.job.prepared_source import PreparedSource
from slicer_core.job.preview import Preview
from slicer_core.job.reporter import FinishedSlice, Reporter
from slicer_core.job.shards import Shard, shard_files
from slicer_core.job.status import OUTLINE
from slicer_core.job.tiles import disjoint, missing, range_names
from slicer_core.job.view import finished_slice, stored_slices
from slicer_core.job.work import CENTER, TaskResult, TileEvaluator, TileResult, TileTask
from slicer_core.measures.surroundings import missing_measures, with_model_measures
from slicer_core.methods.evaluation import Tile, other_tiles
from slicer_core.methods.preparation import Made, Preparation
from slicer_core.methods.tile_names import POINTS, tile_range
from slicer_core.slices import Slice, decode_slice, encode_slice
from slicer_core.store import FILE_NAME, Store, StoredSlice, StoredTile, TileKey

_GENERATION = "generation"


class SourceRunner:
    """One source's store, which is opened when there is something to look up or to keep."""

    def __init__(
        self,
        prepared: PreparedJob,
        source: PreparedSource,
        reporter: Reporter,
        executor: Executor[TileTask],
        planner: TileEvaluator,
        *,
        shard: Shard | None = None,
        merging: bool = False,
    ) -> None:
        self._prepared = prepared
        self._source = source
        self._index = prepared.sources.index(source)
        self._reporter = reporter
        self._executor = executor
        self._planner = planner
        self._hash = prepared.job_hash(source)
        self._job = self._hash
        self._shard, self._merging = shard, merging
        self._path = source.run_dir / (FILE_NAME if shard is None else shard.file_name)
        self._store: Store | None = None
        self._tile_points: dict[str, int] | None = None
        self._noted: set[str] = set()
        self._replacing: str | None = None
        # What is wrong with shards that were not taken in, or not whole.
        self.shard_faults: list[str] = []

    def open_stored(self) -> None:
        """Looks at what earlier runs have stored, where there is something.

        Raises:
            StoreError: it is damaged, or in use by another run.
        """
        shards = list(shard_files(self._source.run_dir)) if self._merging else []
        if not self._path.exists() and not shards:
            return
        if self._prepared.job.fresh:
            aside = move_aside_if_damaged(self._path)
            if aside is not None:
                self._reporter.note(
                    f"{self._source.name}: what was there is damaged, and is kept aside in {aside}; its slices leave "
                    "the log"
                )
        store = self._open()
        self._job = self._current_job(store)
        self._look_over(store)
        if not self._prepared.job.fresh:
            self._check_stored(store)
        for file in shards:
            target = store, self._job
            found = import_shard(self._prepared, self._source, file, self._current_job, target, self._center)
            if found.taken:
                self._reporter.note(f"{self._source.name}: {found.taken} tiles from {file.name}")
            if found.fault is not None:
                self.shard_faults.append(str(found.fault))
                self._reporter.note(f"{self._source.name}: {found.fault}")
        decided = stored_decisions(store, self._job)
        if decided is not None:
            self._adopt(decided)

    def stored(self, checkpoint: Checkpoint) -> FinishedSlice | None:
        """The checkpoint's slice, where an earlier run of the job has stored it."""
        if self._store is None:
            return None
        there = self._store.slice(self._prepared.job.tag, checkpoint.step)
        if there is None or (there.job, there.checkpoint) != (self._job, self._prepared.fingerprint(checkpoint)):
            return None
        return self._finished(there, decode_slice(there.blobs), is_stored=True)

    def lacks_measures(self, there: FinishedSlice) -> bool:
        """Whether measures are asked for that the stored slice has not."""
        return bool(missing_measures(there.data, self._prepared.measures))

    def begin(self, checkpoint: Checkpoint, before: Slice | None = None) -> CheckpointWork:
        """What is to do for the checkpoint; its stored tiles are in it.

        `before`: all of the slice but measures that are asked for only now.

        Raises:
            SlicerError: there can be no slice of it.
        """
        prepared, source = self._prepared, self._source
        fingerprint, label = prepared.fingerprint(checkpoint), self._label(checkpoint)
        preparation = self._preparation(fingerprint, label)
        center, evaluator = self._planner.planned(self._index, checkpoint.step, preparation)
        work = CheckpointWork(
            checkpoint=checkpoint,
            fingerprint=fingerprint,
            center=center,
            evaluator=evaluator,
            before=before,
            label=label,
        )
        for note in evaluator.plan.notes:
            if note not in self._noted:
                self._noted.add(note)
                self._reporter.note(f"{source.name}: {note}")
        if before is not None:
            return work
        num_points = evaluator.plan.num_evaluated
        self._reporter.begin(label, num_points)
        self._read_tiles(work)
        if prepared.job.preview and self._shard is None and not self._merging:
            work.preview = Preview.of(prepared, work)
        if self._tile_points is None and self._merging:
            self._tile_points = dict.fromkeys(prepared.splits, num_points)
        if self._tile_points is None:
            self._calibrate(work)
        # Only now, so that a loss that raises leaves nothing behind, and nothing is said to be replaced.
        self._outline(work)
        if self._replacing is not None:
            self._reporter.note(self._replacing)
            self._replacing = None
        turn = self._source.selected.index(checkpoint)
        for split in prepared.splits:
            names = [name for own, name in work.tiles if own == split]
            done = disjoint(names)
            for bounds in done:
                self._reporter.advance((bounds[1] - bounds[0]) * prepared.split_share)
            if prepared.settings.tolerance is None:
                assert self._tile_points is not None
                pieces = None if self._shard is None else self._shard.ranges(num_points, turn)
                wanted = range_names(missing(done, num_points, self._tile_points[split], pieces))
            else:
                wanted = [POINTS] if self._shard is None or self._shard.has_turn(turn) else []
            if self._shard is None or self._shard.has_turn(turn):
                wanted += other_tiles(evaluator.plan, has_whole=evaluator.has_whole(split))
            work.left += [self._task(checkpoint, split, name) for name in wanted if name not in names]
        work.num_left = len(work.left)
        return work

    def keep(self, work: CheckpointWork, result: TaskResult) -> None:
        """Stores the tiles of a task of the checkpoint."""
        self._keep(work, result)
        work.num_left -= 1

    def set_aside(self, work: CheckpointWork, task: TileTask, error: SlicerError) -> None:
        """Goes on without a tile that workers were lost with."""
        work.num_left -= 1
        work.set_aside.append((f"{task.tile} ({task.split})", error))
        self._reporter.note(f"{work.label}: tile {task.tile} ({task.split}) is set aside: {error}")

    def finish(self, work: CheckpointWork) -> FinishedSlice:
        """The slice of all tiles, stored."""
        prepared = self._prepared
        work.center.load()
        data = with_model_measures(
            work.before or assembled_slice(prepared, work),
            prepared.measures,
            wrapper=prepared.wrapper,
            state=work.center.state,
            plan=work.evaluator.plan,
            settings=prepared.settings,
            seed=prepared.job.seed,
            batchnorm=prepared.batchnorm,
            begin=lambda name, points: self._reporter.begin(f"{self._label(work.checkpoint)}, {name}", points),
            advance=self._reporter.advance,
        )
        job = prepared.job
        return self._put(work, job.tag, data, ends=job.preview_tag)

    def preview(self, work: CheckpointWork) -> FinishedSlice | None:
        """The slice of the points that are there, stored, where it is time for one."""
        if work.preview is None:
            return None
        data = work.preview.next(self._prepared, work)
        return None if data is None else self._put(work, self._prepared.job.preview_tag, data)

    def view(self) -> Iterator[FinishedSlice]:
        """See `View`."""
        was_open = self._store is not None
        store = self._open()
        try:
            yield from stored_slices(store, self._source.run_dir, self._source.name)
        finally:
            if not was_open:
                self.close()

    def close(self) -> None:
        """Lets go of the store."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _put(self, work: CheckpointWork, tag: str, data: Slice, *, ends: str | None = None) -> FinishedSlice:
        stored = StoredSlice(
            tag=tag,
            step=work.checkpoint.step,
            job=self._job,
            checkpoint=work.fingerprint,
            wall_time=time.time(),
            blobs=encode_slice(data),
        )
        only_adds = self._open().put_slice(stored, ends=ends)
        return self._finished(stored, data, only_adds=only_adds)

    def _outline(self, work: CheckpointWork) -> None:
        """Notes what there is to do, for who asks how far it is."""
        store = self._open()
        outline = store.note(self._job, OUTLINE) or {"steps": {}}
        steps = outline["steps"] | {work.fingerprint: work.checkpoint.step}
        points, splits = work.evaluator.plan.num_evaluated, list(self._prepared.splits)
        if outline != (outline := {"points": points, "splits": splits, "steps": steps}):
            store.put_note(self._job, OUTLINE, outline)
        note_folder(store, self._job, work.fingerprint, self._source)

    def _label(self, checkpoint: Checkpoint) -> str:
        return f"{self._source.name}, {checkpoint.label}"

    def _preparation(self, fingerprint: str, label: str) -> Preparation:
        """What took long to make is kept beside the tiles, so that a run that goes on has the same points."""

        def kept(name: str, make: Callable[[], Made]) -> Made:
            key = self._key(fingerprint, made_tile(name), "")
            stored = None if self._store is None else self._store.tile(key)
            return made_once(stored, make, lambda tile: self._open().put_tile(key, tile))

        return Preparation(
            settings=self._prepared.settings,
            split=self._prepared.splits[0],
            begin=lambda what, steps: self._reporter.begin(f"{label}: {what}", steps),
            advance=self._reporter.advance,
            kept=kept,
        )

    def _current_job(self, store: Store) -> str:
        """The job's name in the store: its hash, and which start it is where there were several."""
        generation = store.note(self._hash, _GENERATION) or 0
        return f"{self._hash}.{generation}" if generation else self._hash

    def _start_anew(self, store: Store) -> None:
        store.put_note(self._hash, _GENERATION, (store.note(self._hash, _GENERATION) or 0) + 1)
        self._job = self._current_job(store)
        store.add_job(self._job, self._prepared.job.to_dict())

    def _look_over(self, store: Store) -> None:
        """Settles what earlier runs left under the job's tag, so that a tag never mixes jobs or trainings."""
        tag, name = self._prepared.job.tag, self._source.name
        if self._prepared.job.fresh:
            aside = aside_name(self._path)
            store.copy_to(aside)
            self._start_anew(store)
            self._reporter.note(f"{name}: what was there is kept aside in {aside}")
            return
        for text in beside_others(store, tag, self._source):
            self._reporter.note(f"{name}: {text}")
        stored = store.tag_slices(tag)
        if any(there.job != self._job for there in stored):
            self._replacing = (
                f"{name}: tag {tag} held slices of a run with other options, module or data; they leave the log as the "
                "new ones come"
            )
        elif is_of_other_training(store, stored, self._prepared, self._source):
            store.drop_tag(tag)
            store.drop_tag(self._prepared.job.preview_tag)
            self._reporter.note(f"{name}: tag {tag} {HELD_OTHERS}")

    def _check_stored(self, store: Store) -> None:
        """Evaluates the center of checkpoints whose points are stored, since a module can import anything.

        Each of them where something is left to do, else the first. Where one differs, the job starts anew.
        """
        split = self._prepared.splits[0]
        kept = {
            checkpoint: names
            for checkpoint in self._source.selected
            if (names := store.tile_names(self._job, self._prepared.fingerprint(checkpoint)))
        }
        all_done = all(self.stored(checkpoint) is not None for checkpoint in self._source.selected)
        for checkpoint, names in list(kept.items())[: 1 if all_done else None]:
            found = [name for own, name in names if own == split and name.startswith(POINTS)]
            tile = store.tile(self._key(self._prepared.fingerprint(checkpoint), found[0], split)) if found else None
            if tile is None:
                continue
            difference = center_difference(tile.sums, self._center(checkpoint, split).sums, self._prepared)
            if difference is not None:
                self._start_anew(store)
                self._reporter.note(
                    f"{self._source.name}: {difference} at the center of {checkpoint.label}, "
                    "though options, module file, data and checkpoint are the same: something that the module imports "
                    "has changed, or the machine. A new job starts; nothing stored is mixed into it"
                )
                return

    def _calibrate(self, work: CheckpointWork) -> None:
        self._keep(work, self._run(self._task(work.checkpoint, self._prepared.splits[0], POINTS, calibrates=True)))

    def _center(self, checkpoint: Checkpoint, split: str) -> TileResult:
        return self._run(self._task(checkpoint, split, CENTER)).tiles[split, CENTER]

    def _run(self, task: TileTask) -> TaskResult:
        """The result of a task that all that follows depends on."""
        result = self._executor.run(task)
        if isinstance(result, Failure):
            raise result.error
        return result

    def _adopt(self, decided: Any) -> None:
        self._tile_points = decided["tile_points"]
        self._executor.share(decided)

    def _keep(self, work: CheckpointWork, result: TaskResult) -> None:
        # Before the tiles: should the run end in between, they are evaluated again, and in the same way.
        if result.decided is not None:
            self._adopt(keep_decisions(self._open(), self._job, result.decided))
        keys = {where: self._key(work.fingerprint, where[1], where[0]) for where in result.tiles}
        self._open().put_tiles(
            [
                (keys[where], StoredTile(sums=dict(tile.sums), how=dict(tile.how)))
                for where, tile in result.tiles.items()
            ]
        )
        for where, tile in result.tiles.items():
            work.tiles[where] = self._tile(tile.sums, tile.how)
            if not self._executor.tells_progress and where[1].startswith(POINTS):
                bounds = tile_range(where[1]) or (0, work.evaluator.plan.num_evaluated)
                self._reporter.advance((bounds[1] - bounds[0]) * self._prepared.split_share)

    def _read_tiles(self, work: CheckpointWork) -> None:
        """What an interrupted run of the same job left of the checkpoint."""
        if self._store is None:
            return
        for split, name in self._store.tile_names(self._job, work.fingerprint):
            stored = self._store.tile(self._key(work.fingerprint, name, split))
            if (
                stored is not None
                and split in self._prepared.splits
                and set(quantities(self._prepared)) <= set(stored.sums)
            ):
                work.tiles[split, name] = self._tile(stored.sums, stored.how)

    def _tile(self, sums: Any, how: Any) -> Tile:
        # The loss comes first in a slice, and the store has the names in an order of its own.
        return Tile(sums={name: stored_sums(sums[name]) for name in quantities(self._prepared)}, how=how)

    def _task(self, checkpoint: Checkpoint, split: str, tile: str, *, calibrates: bool = False) -> TileTask:
        return TileTask(source=self._index, step=checkpoint.step, split=split, tile=tile, calibrates=calibrates)

    def _key(self, fingerprint: str, tile: str, split: str) -> TileKey:
        return TileKey(job=self._job, checkpoint=fingerprint, tile=tile, split=split)

    def _finished(
        self, stored: StoredSlice, data: Slice, *, is_stored: bool = False, only_adds: bool = False
    ) -> FinishedSlice:
        return replace(
            finished_slice(stored, data, self._source.run_dir, self._source.name), stored=is_stored, only_adds=only_adds
        )

    def _open(self) -> Store:
        if self._store is None:
            self._store = Store(self._path)
            self._store.add_job(self._job, self._prepared.job.to_dict())
        return self._store
