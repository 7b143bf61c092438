"""The line to another network after its units were permuted to match, beside the line to it as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from slicer_core.connectivity.matching import match_weights, permuted
from slicer_core.connectivity.units import UnitGroups, unit_groups
from slicer_core.errors import DataError, UsageError
from slicer_core.evaluate.objective import Objective
from slicer_core.methods.line_barrier import line_barrier
from slicer_core.methods.linear import line_plan
from slicer_core.methods.method import CenterPoint, SliceOptions
from slicer_core.methods.preparation import Made, refuse_lazy
from slicer_core.parameters import NamedTensors, subset
from slicer_core.plan import SlicePlan
from slicer_core.slices import Measure
from slicer_core.subject import LOSS

# Of float32 sums in another order; float64 ones are far nearer.
_TOLERANCE = 1e-3


def aligned_line_plan(
    center: CenterPoint, end: NamedTensors, options: SliceOptions, recipe: Mapping[str, Any]
) -> SlicePlan:
    """The line to `end` with its units permuted; the barrier of the line without that is among the measures.

    Raises:
        UsageError: the ends are equal, only some parameters are to move, or the model's units can't be told.
        DataError: the permuted network does not compute the same.
    """
    if options.params or options.exclude:
        raise UsageError("--align weights permutes whole networks: leave out --params and --exclude")
    refuse_lazy(center.state, "--align weights")
    refuse_lazy(end, "--align weights")
    # Raises where the ends are equal as they are.
    raw = line_plan(center, end, replace(options, range=((0.0, 1.0),)), recipe)
    groups = unit_groups(center.wrapper.model)
    _refuse_tied(center, groups)
    names = center.movable(options)
    permutations, _ = match_weights(subset(center.state, names), subset(end, names), groups, seed=options.seed)
    aligned = permuted(end, groups, permutations)
    moved = sum(int((order != np.arange(order.size)).sum()) for order in permutations.values())
    described = {
        **recipe,
        "align": "weights",
        "seed": options.seed,
        "units": sum(groups.sizes.values()),
        "moved_units": moved,
        "function_difference": _function_difference(center, end, aligned),
    }
    plan = line_plan(center, aligned, options, described, may_be_equal=True)
    if center.preparation.rehearsal:
        return plan
    made = center.preparation.kept("unaligned_line", lambda: Made(vectors=(), facts=line_barrier(center, raw, options)))
    return replace(plan, measures={"unaligned_barrier": Measure(**made.facts)})


def _refuse_tied(center: CenterPoint, groups: UnitGroups) -> None:
    tied = [name for name in groups.axes if name not in center.state]
    if tied:
        raise UsageError(f"--align weights does not permute tied parameters, and {tied[0]} is another layer's too")


def _function_difference(center: CenterPoint, end: NamedTensors, aligned: NamedTensors) -> float:
    """The largest difference of a sample's loss between both, relative to 1 + |loss|, on the first batch."""
    wrapper, settings = center.wrapper, center.preparation.settings
    objective = Objective(wrapper, settings.dtype)
    batch = next(iter(center.preparation.data(wrapper).batches()))
    with wrapper.evaluating():
        objective.examine({**wrapper.state(), **end}, batch)
        before, after = (
            objective.at_center({**wrapper.state(), **state}, batch)[LOSS].sums for state in (end, aligned)
        )
    difference = ((after - before).abs() / (1 + before.abs())).max().item()
    if not difference <= _TOLERANCE and torch.isfinite(before).all():
        raise DataError(
            f"the network with permuted units gives losses that differ by {difference:.3g} of their size, so it is not "
            "the same function: the model's forward does something with single units that its layers don't show. Leave "
            "out --align"
        )
    return difference
