"""One checkpoint while its tiles are being evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slicer_core.checkpoints import Checkpoint
from slicer_core.errors import ResourceError, SlicerError, StoreError
from slicer_core.job.tiles import Bounds, disjoint
from slicer_core.job.work import TileTask
from slicer_core.methods.evaluation import PlanEvaluator, Tile
from slicer_core.methods.method import CenterPoint
from slicer_core.methods.tile_names import tile_range
from slicer_core.slices import Slice

if TYPE_CHECKING:
    from slicer_core.job.preview import Preview


@dataclass(kw_only=True)
class CheckpointWork:
    """What is there and what is left.

    `before`: all of the slice but measures that are asked for only now. `set_aside`: tiles that workers were lost with,
    and how. `preview`: what was shown of it meanwhile, where that is asked for.
    """

    checkpoint: Checkpoint
    fingerprint: str
    label: str
    center: CenterPoint
    evaluator: PlanEvaluator
    tiles: dict[tuple[str, str], Tile] = field(default_factory=dict)
    left: list[TileTask] = field(default_factory=list)
    num_left: int = 0
    before: Slice | None = None
    set_aside: list[tuple[str, SlicerError]] = field(default_factory=list)
    preview: Preview | None = None

    def ranges(self, split: str) -> list[Bounds]:
        """The points of the split that are there, as ranges of their order that don't overlap, ascending."""
        return disjoint(name for own, name in self.tiles if own == split)

    def set_aside_error(self) -> SlicerError:
        """What is told where tiles were set aside."""
        names = ", ".join(name for name, _ in self.set_aside)
        return ResourceError(
            f"{self.label} lacks {len(self.set_aside)} of its tiles ({names}): {self.set_aside[0][1]}. The others are "
            "stored; the same command tries these again"
        )

    def lacking_error(self, faults: Sequence[str]) -> SlicerError:
        """What is told where tiles are missing, and nothing is to be evaluated. `faults`: of shards they may be in."""
        ranges = [bounds for task in self.left if (bounds := tile_range(task.tile)) is not None]
        splits = dict.fromkeys(task.split for task in self.left)
        missing = sum(stop - start for start, stop in ranges)
        points = self.evaluator.plan.num_evaluated * len(splits)
        what = f"{missing:,} points of {points:,} ({', '.join(splits)})"
        lacks = f"{self.label} lacks {what if ranges else 'its center or markers'}, so there is no slice"
        rest = "let `loss-slicer run` with the same options evaluate the rest"
        if not faults:
            return StoreError(f"{lacks}: wait for the shards that are not done, or {rest}")
        more = f" (and {len(faults) - 1} other shards)" if len(faults) > 1 else ""
        return StoreError(f"{lacks}: {faults[0]}{more}, or {rest}")
