"""Where a training's checkpoints lie in the plane of a slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slicer_core.directions import open_points, project
from slicer_core.errors import UsageError
from slicer_core.methods.method import CenterPoint
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PlannedTrajectory


def planned_trajectory(center: CenterPoint, axes: Sequence[NamedTensors]) -> PlannedTrajectory:
    """All checkpoints of the run, projected by least squares; distances are over all floating parameters.

    Raises:
        UsageError: there is no run with checkpoints.
    """
    if not center.path:
        raise UsageError("--trajectory shows the checkpoints of a run, and there are none here")
    points = open_points(center.path)
    return trajectory_of(center, points, axes)


def trajectory_of(
    center: CenterPoint,
    points: Sequence[NamedTensors],
    axes: Sequence[NamedTensors],
    *,
    guess: np.ndarray | None = None,
) -> PlannedTrajectory:
    """As `planned_trajectory`, of checkpoints that are open; see `project` for `guess`."""
    found = project(points, center.state, axes, center.parameters(), guess=guess)
    return PlannedTrajectory(
        steps=tuple(point.step for point in center.path),
        coordinates=found.coordinates,
        residuals=found.residuals,
        captured=found.captured,
        states=tuple(point.open for point in center.path),
    )


def ranges_around(coordinates: np.ndarray, factor: float) -> tuple[tuple[float, float], ...]:
    """For each column the limits of its values (those of the center, 0, included), `factor` times as wide."""
    low, high = np.minimum(coordinates.min(axis=0), 0.0), np.maximum(coordinates.max(axis=0), 0.0)
    margin = (factor - 1) / 2 * (high - low)
    return tuple((float(start), float(end)) for start, end in zip(low - margin, high + margin, strict=True))
