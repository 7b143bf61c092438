"""Whether the center that was evaluated with stored points is the one that is evaluated now."""

from __future__ import annotations

import math
from collections.abc import Mapping

from slicer_core.evaluate import stored_sums
from slicer_core.job.prepare import PreparedJob
from slicer_core.subject import TF32_RELATIVE

# How far a value may be from the one that was stored, by the evaluation's own type where it has fewer digits.
_RELATIVE = {"float64": 1e-6, "bfloat16": 3e-2, "float16": 3e-3}
_DEFAULT_RELATIVE = 2e-5
_ABSOLUTE = 1e-6


def quantities(prepared: PreparedJob) -> tuple[str, ...]:
    """What is evaluated at each point, the loss first."""
    return tuple(prepared.wrapper.quantities)


def center_difference(stored: Mapping[str, bytes], found: Mapping[str, bytes], prepared: PreparedJob) -> str | None:
    """In what the two differ beyond rounding, as words; None where they don't."""
    relative = _RELATIVE.get(prepared.job.dtype or "", _DEFAULT_RELATIVE)
    if prepared.wrapper.tf32:
        relative = max(relative, TF32_RELATIVE)
    for name in quantities(prepared):
        if name not in stored:
            return f"there is no stored {name}"
        was, now = (stored_sums(sums[name]).center_value for sums in (stored, found))
        same = was == now or (math.isnan(was) and math.isnan(now))
        if not same and not abs(was - now) <= relative * abs(was) + _ABSOLUTE:
            return f"the {name} is {now:.9g} now and was {was:.9g} when the points were stored"
    return None
