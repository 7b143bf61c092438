"""The unit of work of a job: a tile of one checkpoint on one split. Small to send, the same wherever it is run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slicer_core.checkpoints import Checkpoint
from slicer_core.errors import UsageError
from slicer_core.evaluate import Decisions, decide_alike, evaluate
from slicer_core.job.prepare import PreparedJob
from slicer_core.job.prepared_source import PreparedSource
from slicer_core.job.tiles import CALIBRATION
from slicer_core.methods.evaluation import PlanEvaluator
from slicer_core.methods.method import CenterPoint
from slicer_core.methods.preparation import Preparation
from slicer_core.methods.tile_names import POINTS, range_tile
from slicer_core.parameters import NamedTensors
from slicer_core.plan import SlicePlan
from slicer_core.subject import python_side_of

CENTER = "center"
"""The name of the tile with the center alone on the samples of the points; it is compared, not kept."""
TILE_SECONDS = "LOSS_SLICER_TILE_SECONDS"
"""Environment variable with the seconds that a tile is to take, in place of those chosen here."""
# Long enough that what is done once a tile does not count, short enough to lose.
_SECONDS = 4.0
_MOST_SECONDS = 30.0
_POINTS = 100

Advance = Callable[[float], Any]


@dataclass(frozen=True, kw_only=True)
class TileTask:
    """Which tile: of which source and checkpoint, on which split. `calibrates`: see `TileEvaluator.calibrate`."""

    source: int
    step: int
    split: str
    tile: str
    calibrates: bool = False


@dataclass(frozen=True, kw_only=True)
class TileResult:
    """Sums by quantity, as bytes, and how they were come by."""

    sums: Mapping[str, bytes]
    how: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """The tiles of a task by (split, name), and what it decided for all tiles to come (JSON values), if it did."""

    tiles: Mapping[tuple[str, str], TileResult]
    decided: Mapping[str, Any] | None = None


class TileEvaluator:
    """Evaluates tasks of a job in this process. The last checkpoint's plan, and what was computed once for it, stay."""

    def __init__(self, prepared: PreparedJob) -> None:
        self._prepared = prepared
        self._decisions = Decisions()
        self._last: tuple[tuple[int, int], CenterPoint, PlanEvaluator] | None = None
        decide_alike(prepared.wrapper, prepared.settings.dtype, self._decisions)

    def decide_as(self, decided: Mapping[str, Any]) -> None:
        """From now on decides what timing decides as another process did."""
        if decided["decisions"] == self._decisions.to_dict():
            return
        self._decisions = Decisions.from_dict(decided["decisions"])
        decide_alike(self._prepared.wrapper, self._prepared.settings.dtype, self._decisions)
        if self._last is not None:
            key, center, evaluator = self._last
            self._last = (key, center, self._evaluator(evaluator.plan, center))

    def planned(
        self, source: int, step: int, preparation: Preparation | None = None
    ) -> tuple[CenterPoint, PlanEvaluator]:
        """The checkpoint's center and plan, ready to be evaluated. `preparation`: see `CenterPoint`.

        Raises:
            SlicerError: the checkpoint can't be read, or there is no such slice of it.
        """
        key = (source, step)
        if self._last is None or self._last[0] != key:
            self._last = None
            prepared = self._prepared
            chosen = prepared.sources[source]
            if preparation is None:
                preparation = Preparation(settings=prepared.settings, split=prepared.splits[0])
            center = center_of(prepared, chosen, chosen.checkpoint_at(step), preparation)
            plan = prepared.method.plan(center, prepared.options)
            self._last = (key, center, self._evaluator(plan, center))
        _, center, evaluator = self._last
        center.load()
        return center, evaluator

    def _evaluator(self, plan: SlicePlan, center: CenterPoint) -> PlanEvaluator:
        prepared = self._prepared
        return PlanEvaluator(plan, center, settings=prepared.settings, batchnorm=prepared.batchnorm)

    def run(self, task: TileTask, advance: Advance | None = None) -> TaskResult:
        """What the task asks for.

        Raises:
            SlicerError: see `evaluate`.
        """
        if task.tile == CENTER:
            return TaskResult(tiles={(task.split, CENTER): self._center(task)})
        _, evaluator = self.planned(task.source, task.step)
        if task.calibrates:
            return self.calibrate(evaluator, advance)
        tiles = {(task.split, task.tile): _tile(evaluator, task.split, task.tile, advance)}
        # To a tolerance, points and samples are chosen as it goes on, and so is how they are run.
        return TaskResult(tiles=tiles, decided=None if self._prepared.settings.tolerance is None else self._decided({}))

    def calibrate(self, evaluator: PlanEvaluator, advance: Advance | None) -> TaskResult:
        """Makes all choices, and finds out how many points a tile is to have.

        The tiles of a few points where it took some to know how long one takes.
        """
        prepared, tiles = self._prepared, {}
        if prepared.settings.tolerance is not None:
            return TaskResult(tiles={}, decided=self._decided({}))
        num_points = evaluator.plan.num_evaluated
        first, *_ = prepared.splits
        for split in prepared.splits:
            evaluator.settle(split)
        seconds = evaluator.seconds_a_point(first)
        if seconds is None:
            taken = []
            for start, stop in CALIBRATION:
                if start < num_points:
                    begun = time.perf_counter()
                    name = range_tile(start, min(stop, num_points))
                    tiles[first, name] = _tile(evaluator, first, name, advance)
                    taken.append(time.perf_counter() - begun)
            few, more = (stop - start for start, stop in CALIBRATION)
            # The second time without what is done once; what is done at each tile cancels out.
            seconds = max((taken[-1] - taken[0]) / (more - few), taken[-1] / more / 4) if len(taken) > 1 else taken[0]
        samples = {split: evaluator.num_samples(split) for split in prepared.splits}
        tile_points = {
            split: _tile_points(seconds * samples[split] / max(1, samples[first])) for split in prepared.splits
        }
        return TaskResult(tiles=tiles, decided=self._decided(tile_points))

    def _decided(self, tile_points: Mapping[str, int]) -> dict[str, Any]:
        return {"decisions": self._decisions.to_dict(), "tile_points": dict(tile_points)}

    def _center(self, task: TileTask) -> TileResult:
        prepared = self._prepared
        source = prepared.sources[task.source]
        state = prepared.state(source.checkpoint_at(task.step))
        settings = prepared.settings
        data = prepared.wrapper.split(task.split, settings.batch_size, settings.samples)
        evaluation = evaluate(prepared.wrapper, data, (), state, settings=settings)
        return TileResult(sums={name: sums.to_bytes() for name, sums in evaluation.sums.items()}, how={})


def center_of(
    prepared: PreparedJob, source: PreparedSource, checkpoint: Checkpoint, preparation: Preparation
) -> CenterPoint:
    """The checkpoint as the center of a slice."""
    state = prepared.state(checkpoint)
    side = python_side_of(prepared.wrapper.model)
    scale_from = prepared.job.scale_from

    def other(name: str) -> NamedTensors:
        try:
            return prepared.other_state(source, name)
        finally:
            if side is not None:
                side.put_back()

    return CenterPoint(
        wrapper=prepared.wrapper,
        state=state,
        scale_state=state if scale_from == "each" else other(scale_from),
        other=other,
        preparation=preparation,
        path=prepared.path(source),
        checkpoint=checkpoint,
        side=side,
    )


def _tile(evaluator: PlanEvaluator, split: str, name: str, advance: Advance | None) -> TileResult:
    counted = advance if name.startswith(POINTS) else None
    tile = evaluator.tile(split, name, counted)
    return TileResult(sums={metric: values.to_bytes() for metric, values in tile.sums.items()}, how=tile.how)


def given_tile_seconds() -> float | None:
    """What the environment says of how long a tile is to take.

    Raises:
        UsageError: it is no number.
    """
    given = os.environ.get(TILE_SECONDS)
    try:
        return None if given is None else float(given)
    except ValueError:
        raise UsageError(f"{TILE_SECONDS}={given} is not a number of seconds") from None


def _tile_points(seconds_a_point: float) -> int:
    """How many points take as long as a tile should."""
    wanted = given_tile_seconds()
    if wanted is None:
        wanted = min(_MOST_SECONDS, max(_SECONDS, _POINTS * seconds_a_point))
    return max(1, min(2**40, round(wanted / max(seconds_a_point, 1e-9))))
