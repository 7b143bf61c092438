"""The points of a plan as sums, tile by tile: each tile is some of the points, or a marker, on one split."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from slicer_core.choices import BATCHNORM_POLICIES, BatchNormPolicy
from slicer_core.errors import UsageError
from slicer_core.evaluate import (
    AdaptiveEvaluation,
    Evaluation,
    EvaluationSettings,
    Grid,
    NestedSums,
    PointEvaluator,
    PointSums,
    chosen_points,
    evaluate,
    evaluate_to_tolerance,
    running_statistics,
)
from slicer_core.methods.method import CenterPoint
from slicer_core.methods.tile_names import POINTS, WHOLE, marker_tile, path_tile, tile_range
from slicer_core.order import coarse_to_fine
from slicer_core.parameters import NamedTensors, shapes_of
from slicer_core.plan import SlicePlan
from slicer_core.subject import LOSS
from slicer_core.version import __version__


@dataclass(frozen=True, kw_only=True)
class Tile:
    """The sums of some points on one split by quantity, and how they were come by (JSON values)."""

    sums: Mapping[str, PointSums | NestedSums]
    how: Mapping[str, Any]


Tiles = Mapping[tuple[str, str], Tile]
"""(split, tile name) -> tile; the names are `points` or parts of it, see `range_tile`, one for each marker and
checkpoint of the trajectory, see `marker_tile` and `path_tile`, and maybe `whole`."""

Advance = Callable[[float], Any]


def range_points(plan: SlicePlan, start: int, stop: int) -> np.ndarray:
    """The flat indices of the points of `range_tile(start, stop)`, ascending, as the tile's sums have them."""
    order = coarse_to_fine(plan.shape, plan.geometry)
    # A repeat comes when all before it are done, so that the slice itself is there first.
    first, last = start // order.size, max(start, stop - 1) // order.size
    orders = np.concatenate([order + order.size * repeat for repeat in range(first, last + 1)])
    return np.sort(orders[start - order.size * first : stop - order.size * first])


def other_tiles(plan: SlicePlan, *, has_whole: bool) -> list[str]:
    """The names of a split's tiles beside those of its points."""
    return [*_single_points(plan), *([WHOLE] if has_whole else [])]


def _single_points(plan: SlicePlan) -> dict[str, Callable[[], NamedTensors]]:
    """By tile, the state of each point whose own loss, with its own buffers, the slice has besides its grid."""
    found: dict[str, Callable[[], NamedTensors]] = {
        marker_tile(marker): lambda marker=marker: marker.state for marker in plan.markers
    }
    if plan.trajectory is not None:
        found |= zip(map(path_tile, plan.trajectory.steps), plan.trajectory.states, strict=True)
    return found


def check_coefficients(plan: SlicePlan, center: CenterPoint, settings: EvaluationSettings) -> None:
    """That the coefficients are numbers of the type in which points are made.

    Raises:
        UsageError: the range is wider.
    """
    own = {tensor.dtype for tensor in shapes_of(center.state).values() if tensor.is_floating_point()}
    # In half precision, directions are added in float32.
    is_double = (own if settings.dtype is None else {settings.dtype}) == {torch.float64}
    largest = torch.finfo(torch.float64 if is_double else torch.float32).max
    furthest = max((float(np.abs(axis.values).max()) for axis in plan.axes), default=0.0)
    if furthest > largest:
        raise UsageError(
            f"--range reaches to {furthest:.3g}, and numbers of float32 to {largest:.3g}: give a narrower one, or "
            "--dtype float64"
        )


class PlanEvaluator:
    """Evaluates tiles of one plan; what a split's first tile settled and computed of the center stays for the others.

    Raises:
        UsageError: an unknown BatchNorm policy, or coefficients that are too large.
    """

    def __init__(
        self,
        plan: SlicePlan,
        center: CenterPoint,
        *,
        settings: EvaluationSettings,
        batchnorm: BatchNormPolicy = "frozen",
    ) -> None:
        if batchnorm not in BATCHNORM_POLICIES:
            raise UsageError(f"--batchnorm {batchnorm!r} is not one of {', '.join(BATCHNORM_POLICIES)}")
        check_coefficients(plan, center, settings)
        self.plan = plan
        self._center, self._settings, self._batchnorm = center, settings, batchnorm
        self._has_statistics = bool(running_statistics(center.wrapper.model))
        self._recompute = None
        if batchnorm == "recompute" and self._has_statistics:
            self._recompute = center.wrapper.split(center.wrapper.splits[0], settings.batch_size)
        self._points: dict[str, PointEvaluator] = {}

    def has_whole(self, split: str) -> bool:
        """Whether the points are evaluated on a part of the split only."""
        return self._data(split) is not self._whole(split)

    def settle(self, split: str) -> None:
        """Makes all choices for the split's points."""
        self._evaluator(split).settle()

    def seconds_a_point(self, split: str) -> float | None:
        """What trials of the strategy that was chosen say; None where there were none."""
        return self._evaluator(split).seconds_a_point()

    def num_samples(self, split: str) -> int:
        """On how many samples of the split each point is evaluated."""
        return self._data(split).num_samples

    def tile(self, split: str, name: str, advance: Advance | None = None) -> Tile:
        """The tile of that name.

        Raises:
            SlicerError: see `evaluate`.
        """
        bounds = tile_range(name)
        if bounds is not None:
            where = range_points(self.plan, *bounds)
            evaluation = self._evaluator(split).evaluate(chosen_points(self.plan.all_blocks, where), advance)
        elif name == POINTS:
            evaluation = self._all_points(split, advance)
        else:
            evaluation = self._center_alone(split, name)
        how = self._how(evaluation)
        if self._settings.samples is not None:
            how["samples_of"] = self._whole(split).num_samples
        return Tile(sums=evaluation.sums, how=how)

    def _evaluator(self, split: str) -> PointEvaluator:
        if split not in self._points:
            self._points[split] = PointEvaluator(
                self._center.wrapper,
                self._data(split),
                self.plan.all_blocks,
                self._center.state,
                settings=self._settings,
                recompute=self._recompute,
            )
        return self._points[split]

    def _all_points(self, split: str, advance: Advance | None) -> Evaluation | AdaptiveEvaluation:
        if self._settings.tolerance is None:
            return self._evaluator(split).evaluate(self.plan.all_blocks, advance)
        return evaluate_to_tolerance(
            self._center.wrapper,
            self._data(split),
            self.plan.blocks,
            self._center.state,
            plan_grid(self.plan),
            tolerance=self._settings.tolerance,
            settings=self._settings,
            recompute=self._recompute,
            advance=advance,
        )

    def _center_alone(self, split: str, name: str) -> Evaluation:
        """A marker or a checkpoint of the trajectory on the samples of the points, or the center on all."""
        data, state = self._whole(split), self._center.state
        if name != WHOLE:
            data = self._data(split)
            state = _single_points(self.plan)[name]()
        return evaluate(self._center.wrapper, data, (), state, settings=self._settings)

    def _data(self, split: str) -> Any:
        return self._center.wrapper.split(split, self._settings.batch_size, self._settings.samples)

    def _whole(self, split: str) -> Any:
        return self._center.wrapper.split(split, self._settings.batch_size)

    def _how(self, evaluation: Evaluation | AdaptiveEvaluation) -> dict[str, Any]:
        settings = self._settings
        how: dict[str, Any] = {
            "samples": evaluation.num_samples,
            "batches": evaluation.num_batches,
            "device": str(self._center.wrapper.device),
            "dtype": "model" if settings.dtype is None else str(settings.dtype).removeprefix("torch."),
            "strategy": evaluation.strategy,
            "seconds": round(evaluation.seconds, 3),
            "entries": evaluation.sums[LOSS].entries,
            "versions": {
                "tensorboard-loss-slicer": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }
        if self._center.wrapper.tf32:
            how["tf32"] = True
        if evaluation.reason is not None:
            how["reason"] = evaluation.reason
        if isinstance(evaluation, AdaptiveEvaluation):
            how["tolerance"] = evaluation.tolerance
        else:
            how |= _how_it_ran(evaluation)
        if evaluation.precision is not None:
            how["precision"] = evaluation.precision.to_dict()
        if self._has_statistics:
            how["batchnorm"] = self._batchnorm
        if self._recompute is not None:
            how["batchnorm_batches"] = "the first split's, all"
        return how


def evaluate_plan(
    plan: SlicePlan,
    center: CenterPoint,
    *,
    splits: tuple[str, ...],
    settings: EvaluationSettings,
    batchnorm: BatchNormPolicy = "frozen",
    advance: Advance | None = None,
) -> dict[tuple[str, str], Tile]:
    """All tiles of the plan, its points in one for each split.

    Raises:
        SlicerError: see `evaluate`.
    """
    evaluator = PlanEvaluator(plan, center, settings=settings, batchnorm=batchnorm)
    tiles: dict[tuple[str, str], Tile] = {}
    for split in splits:
        for name in (POINTS, *other_tiles(plan, has_whole=evaluator.has_whole(split))):
            tiles[split, name] = evaluator.tile(split, name, advance)
    return tiles


def plan_grid(plan: SlicePlan) -> Grid:
    """Where the points of the plan lie, for what is interpolated between them."""
    return Grid.of([axis.values for axis in plan.axes], num_curves=max(1, len(plan.curves)))


def joined_points(plan: SlicePlan, tiles: Iterable[tuple[tuple[int, int], Tile]], num_points: int) -> Tile:
    """One tile from those of ranges that hold `num_points` different points together, in the order of flat indices."""
    parts = [(range_points(plan, *bounds), tile) for bounds, tile in tiles]
    everywhere = np.sort(np.concatenate([where for where, _ in parts]))
    assert everywhere.size == num_points, "tiles overlap, or leave points out"
    positions = [np.searchsorted(everywhere, where) for where, _ in parts]
    sums: dict[str, PointSums | NestedSums] = {}
    for name in parts[0][1].sums:
        found = []
        for (_, tile), where in zip(parts, positions, strict=True):
            own = tile.sums[name]
            assert isinstance(own, PointSums), "to a tolerance, a split's points are one tile"
            found.append((own, where))
        sums[name] = PointSums.joined(found)
    return Tile(sums=sums, how=_joined_how([tile.how for _, tile in parts]))


def _joined_how(hows: list[Mapping[str, Any]]) -> dict[str, Any]:
    """How several tiles of a split were come by together."""
    how: dict[str, Any] = {}
    for one in hows:
        how = dict(one) | how
    how["seconds"] = round(sum(one["seconds"] for one in hows), 3)
    strategies = dict.fromkeys(name for one in hows for name in one["strategy"].split("+"))
    how["strategy"] = "+".join(strategies)
    reasons = dict.fromkeys(reason for one in hows if "reason" in one for reason in one["reason"].split("; "))
    if reasons:
        how["reason"] = "; ".join(reasons)
    if "workers" in how:
        how["workers"] = max(one.get("workers", 1) for one in hows)
    precisions = [one["precision"] for one in hows if "precision" in one]
    if precisions:
        largest = [one["largest_relative_difference"] for one in precisions]
        how["precision"] = precisions[0] | {
            "compared_points": sum(one["compared_points"] for one in precisions),
            "largest_relative_difference": max((value for value in largest if value is not None), default=None),
            "points_again_in_float32": sum(one["points_again_in_float32"] for one in precisions),
        }
    return how


def _how_it_ran(evaluation: Evaluation) -> dict[str, Any]:
    ran: dict[str, Any] = {}
    if evaluation.workers > 1:
        ran["workers"] = evaluation.workers
    if evaluation.timings:
        ran["trials"] = {label: float(f"{seconds:.3g}") for label, seconds in evaluation.timings.items()}
    return ran
