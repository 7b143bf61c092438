"""A slice against an earlier one of the same kind: what changed by more than a tolerance and the errors allow."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np

from slicer_core.checks.quantities import Quantity, center_loss, of_measure
from slicer_core.checks.report import Change, Row
from slicer_core.errors import UsageError
from slicer_core.slices import Slice

LARGER_IS_WORSE = (
    "center.loss",
    "barrier",
    "sharpness",
    "sam_sharpness",
    "adaptive_sharpness",
    "largest_increase",
    "non_finite_share",
    "curvature",
    "eigenvalue",
    "layer_eigenvalue",
)
"""Quantities by their own names or the beginnings of those of other axes and splits, as in `barrier_test`."""
SMALLER_IS_WORSE = ("width",)
STANDARD_ERRORS = 2.0
_TOLERANCE = re.compile(
    r"(?:(?P<name>[^=]+)=)?\s*"
    r"(?P<amount>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*(?P<percent>%?)\s*"
)
_LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a quantity may be from the baseline's: `amount` in its own unit, or as a part of the baseline's size.

    `pattern` is a glob of the quantities that it is for.
    """

    amount: float
    relative: bool
    pattern: str = "*"

    def allowed(self, baseline: float) -> float:
        """The largest difference from the baseline that counts as none."""
        return self.amount * abs(baseline) if self.relative else self.amount

    def __str__(self) -> str:
        return f"{self.amount * 100:g}%" if self.relative else f"{self.amount:g}"


DEFAULT = Tolerance(amount=0.1, relative=True)


def parse_tolerance(text: str) -> Tolerance:
    """`10%`, `0.05`, or one of them for some quantities only: `barrier=0.02`, `center.*=1%`.

    Raises:
        UsageError: the text has another form, or is not finite.
    """
    found = _TOLERANCE.fullmatch(text) if len(text) <= _LONGEST else None
    amount = math.inf if found is None else float(found["amount"]) / (100 if found["percent"] else 1)
    if found is None or not math.isfinite(amount):
        raise UsageError(
            f"--tolerance {text[:100]!r} is not a part of the baseline as in 10%, a difference as in 0.05, or one of "
            "them for some quantities as in barrier=0.02"
        )
    return Tolerance(amount=amount, relative=bool(found["percent"]), pattern=(found["name"] or "*").strip())


def find_tolerance(name: str, tolerances: Sequence[Tolerance]) -> Tolerance:
    """The last one whose pattern fits the quantity, since what is given later is the exception; else DEFAULT."""
    return next((each for each in reversed(tolerances) if fnmatchcase(name, each.pattern)), DEFAULT)


def compare_slices(
    baseline: Slice,
    new: Slice,
    tolerances: Sequence[Tolerance],
    *,
    quantities: Sequence[str] = (),
    strict: bool = False,
) -> tuple[Row, ...]:
    """A row for each measure and center loss of the baseline, or for those whose names fit one of the globs.

    A quantity changed where it differs by more than the tolerance and, if a standard error is known, by more than
    STANDARD_ERRORS times √(e² + e'²). What became worse fails; with `strict` whatever changed does. Measures of
    slices with other axes, and quantities that the new slice lacks, are `absent`.
    """
    rows = []
    names = [f"center.loss.{split}" for split in (baseline.center.loss if baseline.center is not None else ())]
    why_not = _difference(baseline, new)
    for name in (*names, *baseline.measures):
        if quantities and not any(fnmatchcase(name, glob) for glob in quantities):
            continue
        before = _quantity(baseline, name)
        if before is not None:
            reason = why_not if name in baseline.measures else ""
            tolerance = find_tolerance(name, tolerances)
            rows.append(_compare(name, before, _quantity(new, name), tolerance, reason, strict))
    return tuple(rows)


def _quantity(data: Slice, name: str) -> Quantity | None:
    if name in data.measures:
        return of_measure(data.measures[name])
    return center_loss(data, name.removeprefix("center.loss."))


def _difference(baseline: Slice, new: Slice) -> str:
    """Why measures of the two do not mean the same, or an empty text."""
    if (baseline.slice_type, baseline.geometry) != (new.slice_type, new.geometry):
        return f"slices of other kinds: {baseline.slice_type} before, {new.slice_type} now"
    if baseline.shape != new.shape or not all(
        np.allclose(before.values, now.values) for before, now in zip(baseline.axes, new.axes, strict=True)
    ):
        return f"slices on other axes: {_axes(baseline)} before, {_axes(new)} now"
    return ""


def _axes(data: Slice) -> str:
    extents = (f"{axis.values.min():g}:{axis.values.max():g}" for axis in data.axes)
    return f"{'x'.join(map(str, data.shape))} points in {', '.join(extents)}"


def _compare(
    name: str, before: Quantity, now: Quantity | None, tolerance: Tolerance, why_not: str, strict: bool
) -> Row:
    expected = f"within {tolerance}"
    if why_not or now is None:
        reason = why_not or "not in the new slice"
        return Row(quantity=name, outcome="absent", expected=expected, found=now, baseline=before, reason=reason)
    change = _change(name, before, now, tolerance)
    failed = change == "worse" or (strict and change != "same")
    reason = ""
    if failed and not math.isfinite(now.value):
        reason = "not a finite number"
    elif failed:
        reason = f"{change}: {_percent(before.value, now.value)}, beyond {tolerance} and the errors"
    return Row(
        quantity=name,
        outcome="failed" if failed else "passed",
        expected=expected,
        found=now,
        baseline=before,
        change=change,
        reason=reason,
    )


def _change(name: str, before: Quantity, now: Quantity, tolerance: Tolerance) -> Change:
    if not math.isfinite(now.value):
        return "worse"
    if not math.isfinite(before.value):
        return "better"
    difference = now.value - before.value
    noise = math.hypot(*(each.error for each in (before, now) if each.error is not None and math.isfinite(each.error)))
    if abs(difference) <= max(tolerance.allowed(before.value), STANDARD_ERRORS * noise):
        return "same"
    worse = _worse_sign(name)
    return "changed" if worse == 0 else "worse" if difference * worse > 0 else "better"


def _worse_sign(name: str) -> Literal[-1, 0, 1]:
    def is_of(base: str) -> bool:
        return name == base or name.startswith((f"{base}_", f"{base}."))

    return 1 if any(map(is_of, LARGER_IS_WORSE)) else -1 if any(map(is_of, SMALLER_IS_WORSE)) else 0


def _percent(before: float, now: float) -> str:
    difference = now - before
    return f"{difference:+.3g}" + (f" ({difference / abs(before):+.1%})" if before else "")
