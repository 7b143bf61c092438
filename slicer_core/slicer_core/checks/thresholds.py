"""A slice against rules."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slicer_core.checks.quantities import find_quantity, known_names
from slicer_core.checks.report import Row
from slicer_core.checks.rules import Rule
from slicer_core.errors import suggestion
from slicer_core.slices import Slice


def check_slice(data: Slice, rules: Sequence[Rule], *, allow_provisional: bool = False) -> tuple[Row, ...]:
    """A row for each rule, before them one for the slice being whole where it is not.

    A quantity that the slice lacks is `absent`, one that is NaN fails.
    """
    return (*check_whole(data, allow_provisional=allow_provisional), *(_row(data, rule) for rule in rules))


def check_whole(data: Slice, *, allow_provisional: bool) -> tuple[Row, ...]:
    """A failed row for a provisional slice, unless such are allowed."""
    if data.status != "provisional" or allow_provisional:
        return ()
    reason = f"the slice is provisional, {data.filled:.0%} of its points are there"
    return (Row(quantity="status", outcome="failed", expected="complete", reason=reason),)


def _row(data: Slice, rule: Rule) -> Row:
    found = find_quantity(data, rule.name)
    if found is None:
        near = suggestion(rule.name, known_names(data))
        reason = f"the slice has no number of this name{near}"
        return Row(quantity=rule.name, outcome="absent", expected=rule.expected, reason=reason)
    if rule.holds(found.value):
        return Row(quantity=rule.name, outcome="passed", expected=rule.expected, found=found)
    reason = "not a finite number" if math.isnan(found.value) else f"not {rule.expected}"
    return Row(quantity=rule.name, outcome="failed", expected=rule.expected, found=found, reason=reason)
