"""A slice of those points that are there already, shown under a tag of its own until the whole one takes its place."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from slicer_core.evaluate import NestedSums, PointSums, chosen_points
from slicer_core.job.assembled import assembled_slice
from slicer_core.job.checkpoint_work import CheckpointWork
from slicer_core.job.prepare import PreparedJob
from slicer_core.job.work import given_tile_seconds
from slicer_core.methods.evaluation import Tile, joined_points, range_points
from slicer_core.methods.tile_names import POINTS, range_tile
from slicer_core.order import finished_level, level_indices
from slicer_core.plan import SlicePlan
from slicer_core.slices import Slice

# Two points an axis show nothing.
_FIRST_LEVEL = 1
# Before the first preview and between two; one with the same points as the last, which only tells anew how far the job
# is, comes after twice as long. A whole event file is written for each.
_SECONDS = 5.0
# Making previews takes at most this part of a run.
_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A slice of some of a plan's points: the plan of these, and their flat indices in the whole one."""

    plan: SlicePlan
    where: np.ndarray


@dataclass(kw_only=True)
class Preview:
    """What was shown of a checkpoint so far, and from when on its speed is counted."""

    began: float
    num_stored: int
    seconds_between: float
    wait_until: float
    shown_points: int = 0

    @classmethod
    def of(cls, prepared: PreparedJob, work: CheckpointWork) -> Preview:
        """Before this run evaluates any of its points."""
        given, now = given_tile_seconds(), time.monotonic()
        between = _SECONDS if given is None else given
        stored = _num_done(prepared, work)
        return cls(began=now, num_stored=stored, seconds_between=between, wait_until=now + between)

    def next(self, prepared: PreparedJob, work: CheckpointWork) -> Slice | None:
        """A slice that shows more than the last one, or how far the job is since; None where it is too early for it."""
        now = time.monotonic()
        if now < self.wait_until:
            return None
        found = _coarse_part(prepared, work)
        if found is None:
            return None
        splits, part = found
        shown = len(splits) * part.where.size
        if shown <= self.shown_points and now < self.wait_until + self.seconds_between:
            return None
        data = self._slice(prepared, work, splits, part)
        ended = time.monotonic()
        self.shown_points, self.wait_until = shown, ended + max(self.seconds_between, (ended - now) / _SHARE)
        return data

    def _slice(self, prepared: PreparedJob, work: CheckpointWork, splits: Mapping[str, Tile], part: _Part) -> Slice:
        tiles = {where: tile for where, tile in work.tiles.items() if where[1] != POINTS and where[0] in splits}
        tiles |= {(split, POINTS): tile for split, tile in splits.items()}
        data = assembled_slice(prepared, work, (part.plan, tiles))
        done, of = _num_done(prepared, work), work.evaluator.plan.num_evaluated * len(prepared.splits)
        evaluation = {**data.evaluation, "points_done": done, "points": of, "as_of": round(time.time(), 3)}
        if done > self.num_stored:
            seconds = (time.monotonic() - self.began) * (of - done) / (done - self.num_stored)
            evaluation["seconds_left"] = round(seconds, 1)
        return replace(data, filled=done / of, evaluation=evaluation)


def _num_done(prepared: PreparedJob, work: CheckpointWork) -> int:
    return sum(stop - start for split in prepared.splits for start, stop in work.ranges(split))


def _coarse_part(prepared: PreparedJob, work: CheckpointWork) -> tuple[dict[str, Tile], _Part] | None:
    """The finest lattice of points that is there on the first split, with their sums on each split that has them."""
    part, splits = None, {}
    for split in prepared.splits:
        plan, ranges = work.evaluator.plan, work.ranges(split)
        if not ranges:
            continue
        there = np.sort(np.concatenate([range_points(plan, *bounds) for bounds in ranges]))
        part = part or _finished_part(plan, there)
        if part is None:
            return None
        if not np.isin(part.where, there).all():
            continue
        parts = [(bounds, work.tiles[split, range_tile(*bounds)]) for bounds in ranges]
        joined = joined_points(plan, parts, there.size)
        splits[split] = Tile(sums=_sums_at(joined, np.searchsorted(there, part.where)), how=joined.how)
    return None if part is None else (splits, part)


def _sums_at(tile: Tile, where: np.ndarray) -> dict[str, PointSums | NestedSums]:
    found: dict[str, PointSums | NestedSums] = {}
    for name, sums in tile.sums.items():
        assert isinstance(sums, PointSums), "to a tolerance there are no previews"
        found[name] = sums.at(where)
    return found


def _finished_part(plan: SlicePlan, there: np.ndarray) -> _Part | None:
    """Of a family, the curves that are there; else every so manieth point along each axis."""
    done = np.zeros(plan.num_points, dtype=bool)
    done[there[there < plan.num_points]] = True
    curves, axes = plan.curves, plan.axes
    if plan.geometry == "curves":
        rows = np.flatnonzero(done.reshape(plan.shape).all(axis=1))
        kept = [rows, np.arange(plan.shape[1])]
        curves = tuple(curves[row] for row in rows)
        if not curves:
            return None
    else:
        level = finished_level(plan.shape, done)
        if level is None or level < _FIRST_LEVEL:
            return None
        kept = [level_indices(size, level) for size in plan.shape]
        axes = tuple(replace(axis, values=axis.values[own]) for axis, own in zip(axes, kept, strict=True))
    where = np.arange(plan.num_points).reshape(plan.shape)[np.ix_(*kept)].reshape(-1)
    blocks = tuple(chosen_points(plan.blocks, where))
    return _Part(plan=replace(plan, axes=axes, curves=curves, blocks=blocks, repeats=()), where=where)
