"""How far one can go from the center before the loss has risen: flat minima are wide.

Hochreiter, Schmidhuber, "Flat minima", Neural Computation 1997, take the size of the region in which the error stays
within a tolerance; here it is a line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from slicer_core.measures.field import UNKNOWN, Line, LossField
from slicer_core.slices import Measure

RISE = 0.1
LEAST_LOSS = 0.1


@dataclass(frozen=True, kw_only=True)
class _Side:
    """Where one side of the interval ends, why, and how that moves with the losses of the points around."""

    end: float
    cut: str | None
    positions: tuple[int, ...] = ()
    slopes: tuple[float, ...] = ()


def width(field: LossField, *, rise: float | None = None) -> dict[str, Measure]:
    """Length of the connected interval around the center with L ≤ L₀ + δ, in units of the coordinate.

    δ is `rise`, by default a tenth of L₀, at least 0.01. Between points the loss is taken as a straight line. An end
    at the limit of the range (`cut`: the interval may be longer), or at a point that is not finite, is flagged. The
    error is that of both ends together: the paired one of L - L₀ there over the slope; it does not count what may lie
    between points. `details`: δ, the ends, the kind of error, in units of length in parameter space (`length`) where
    the direction's norm is known. A grid has one along each axis through the center; of a family it is the narrowest,
    with all of them in `curves`.
    """
    found: list[tuple[Line, Measure]] = []
    for line in field.lines:
        center = _center_loss(field, line)
        if center is not None and line.coordinates[0] <= 0 <= line.coordinates[-1]:
            delta = RISE * max(abs(center), LEAST_LOSS) if rise is None else rise
            found.append((line, _width(field, line, center, delta)))
    return field.by_line("width", found, min)


def _center_loss(field: LossField, line: Line) -> float | None:
    """The point of the line at 0, else what the slice says of its center."""
    at = np.flatnonzero(line.coordinates == 0)
    loss = float(line.values[at[0]]) if at.size else field.center_loss
    return loss if loss is not None and math.isfinite(loss) else None


def _width(field: LossField, line: Line, center: float, delta: float) -> Measure:
    sides = [_side(field, line, center, delta, upward=upward) for upward in (False, True)]
    value = sides[1].end - sides[0].end
    error, kind = None, UNKNOWN
    if not any(side.cut for side in sides):
        moves = [-slope for slope in sides[0].slopes] + list(sides[1].slopes)
        positions = np.array([position for side in sides for position in side.positions])
        error, kind = field.difference_error(positions, np.array(moves))
    details: dict[str, Any] = {"delta": delta, "from": sides[0].end, "to": sides[1].end}
    if error is not None:
        details["error"] = kind
    cuts = {name: side.cut for name, side in zip(("from", "to"), sides, strict=True) if side.cut}
    if cuts:
        details["cut"] = cuts
    if line.norm is not None:
        details["length"] = value * line.norm
    return Measure(value=value, error=error, details=details)


def _side(field: LossField, line: Line, center: float, delta: float, *, upward: bool) -> _Side:
    """From the center outward to the first crossing of L₀ + δ."""
    outward = [index for index in range(line.coordinates.size) if (line.coordinates[index] > 0) == upward]
    outward = [index for index in outward if line.coordinates[index] != 0]
    if not upward:
        outward.reverse()
    last, last_loss, before = 0.0, center, None
    for index in outward:
        place, loss = float(line.coordinates[index]), float(line.values[index])
        if not math.isfinite(loss):
            return _Side(end=last, cut="not finite")
        if loss > center + delta:
            slope = (loss - last_loss) / (place - last)
            share = (center + delta - last_loss) / (loss - last_loss)
            around = [(int(line.positions[index]), share)]
            # The center's own difference to itself is zero.
            around += [] if before is None else [(int(line.positions[before]), 1 - share)]
            return _Side(
                end=last + share * (place - last),
                cut=None,
                positions=tuple(position for position, _ in around),
                slopes=tuple(-weight / slope for _, weight in around),
            )
        last, last_loss, before = place, loss, index
    return _Side(end=last, cut="range")
