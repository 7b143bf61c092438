"""The barrier of a straight line that another slice is compared with."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from slicer_core.methods.assemble import assemble
from slicer_core.methods.evaluation import evaluate_plan
from slicer_core.methods.method import CenterPoint, SliceOptions
from slicer_core.plan import SlicePlan


def line_barrier(center: CenterPoint, line: SlicePlan, options: SliceOptions) -> dict[str, Any]:
    """`value`, `error` and `details` of the barrier of a planned line on the run's first split.

    `details` has the line's coordinates and losses too, so that both can be drawn.
    """
    settings = replace(center.preparation.settings, tolerance=None, repeats=1)
    split = center.preparation.split or center.wrapper.splits[0]
    plan = replace(line, markers=())
    center.preparation.begin("the straight line", plan.num_points)
    tiles = evaluate_plan(
        plan,
        center,
        splits=(split,),
        settings=settings,
        batchnorm=options.batchnorm or "frozen",
        advance=center.preparation.advance,
    )
    found = assemble(plan, tiles, center, config={}, metrics=(), weight_decay=settings.weight_decay)
    barrier = found.measures["barrier"]
    losses = [loss if math.isfinite(loss) else None for loss in found.loss.tolist()]
    line_values = {"coordinates": found.axes[0].values.tolist(), "losses": losses}
    return {"value": barrier.value, "error": barrier.error, "details": {**barrier.details, **line_values}}
