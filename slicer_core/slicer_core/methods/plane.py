"""The plane through three points of parameter space.

Garipov, Izmailov, Podoprikhin, Vetrov, Wilson, "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS
2018, figure 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slicer_core import slices
from slicer_core.choices import BatchNormPolicy
from slicer_core.directions import combined, gram_matrix
from slicer_core.errors import UsageError
from slicer_core.methods.method import CenterPoint, Method, SliceOptions, axis_settings, refuse_interpolation
from slicer_core.methods.slicer import GridRange, GridSize, Point, Slicer, full_state
from slicer_core.methods.trajectory import planned_trajectory, ranges_around
from slicer_core.parameters import NamedTensors, cosine_of, norm, products
from slicer_core.plan import PlannedMarker, PointBlock, SlicePlan, axis_values, grid_coefficients
from slicer_core.slices import Slice

_MARGIN = 1.4
# Of an angle at A, below which B and C are what rounding left of one line.
_SMALLEST_SINE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Plane(Method):
    """A + α₀·u/‖u‖ + α₁·v/‖v‖ with u = B - A, and v the part of C - A that is orthogonal to u.

    So α are distances, A is at (0, 0), B at (‖B - A‖, 0) and C above the first axis. All floating parameters move.
    `through` names the corners A,B,C.
    """

    through: str = "first,middle,last"
    trajectory: bool = False
    default_batchnorm = "recompute"
    points_option = "--through"

    @property
    def center(self) -> str:
        """The first corner."""
        return self._corners()[0]

    @property
    def uses_path(self) -> bool:
        """Where it is shown."""
        return self.trajectory

    def references(self) -> Sequence[str]:
        """The corners."""
        return self._corners()

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        corners = self._corners()
        others = [center.other(name) for name in corners[1:]]
        return plane_plan(center, others, options, corners, with_trajectory=self.trajectory)

    def _corners(self) -> list[str]:
        corners = [name.strip() for name in self.through.split(",")]
        if len(corners) != 3 or not all(corners):
            raise UsageError(f"--through {self.through!r} is not of the form A,B,C: give three checkpoints")
        if len(set(corners)) != 3:
            raise UsageError(f"--through {self.through!r} names a corner twice: give three different checkpoints")
        return corners


class PlaneSlicer(Slicer):
    """Slices of a wrapped model on the plane through three points."""

    def slice(
        self,
        first: Point,
        second: Point,
        third: Point,
        grid_size: GridSize = 51,
        range: GridRange | None = None,
        *,
        params: tuple[str, ...] = (),
        batchnorm: BatchNormPolicy = "recompute",
    ) -> Slice:
        """Loss on the plane through three points: the first at (0, 0), the second on the first axis.

        `range` is in distances along the axes; None for the extent of the corners times 1.4.

        Raises:
            SlicerError: the points lie on one line, or an argument does not fit the model or its data.
        """
        others = [full_state(self.wrapper, second, "second"), full_state(self.wrapper, third, "third")]
        options = SliceOptions.given(
            2,
            grid_size,
            range,
            params=params,
            batchnorm=batchnorm,
        )
        return self.take("plane", _GivenCorners(others), first, options)


class _GivenCorners(Method):
    """A plane through states that are at hand."""

    def __init__(self, others: Sequence[NamedTensors]) -> None:
        self._others = others

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        return plane_plan(center, self._others, options, ("first", "second", "third"))


def plane_plan(
    center: CenterPoint,
    others: Sequence[NamedTensors],
    options: SliceOptions,
    corners: Sequence[str],
    *,
    with_trajectory: bool = False,
) -> SlicePlan:
    """The points of the plane through the center and two other states; `corners` are the names of all three.

    Raises:
        UsageError: they lie on one line, or are not finite.
    """
    refuse_interpolation(options)
    names = center.movable(options)
    (bb, bc), (_, cc) = gram_matrix(others, center.state, names).tolist()
    listed = f"{', '.join(corners[:2])} and {corners[2]}"
    if not all(map(math.isfinite, (bb, bc, cc))):
        raise UsageError(f"a corner among {listed} has weights that are not finite: give others")
    height = math.sqrt(max(cc - bc * bc / bb, 0.0)) if bb > 0 else 0.0
    if not height > _SMALLEST_SINE * math.sqrt(cc):
        raise UsageError(f"the corners {listed} lie on one line, so there is no one plane through them: give others")
    width = math.sqrt(bb)
    weights = ((1 / width, 0.0), (-bc / bb / height, 1 / height))
    vectors = tuple(combined(others, center.state, names, pair) for pair in weights)
    places = ((0.0, 0.0), (width, 0.0), (bc / width, height))
    settings = axis_settings(options, grid=(51, 51), range=ranges_around(np.array(places), _MARGIN))
    labels = (f"distance from {corners[0]} towards {corners[1]}", f"distance towards {corners[2]}")
    axes = tuple(
        slices.Axis(name=f"direction_{index}", label=labels[index], values=axis_values(low, high, number))
        for index, (number, low, high) in enumerate(settings)
    )
    return SlicePlan(
        slice_type="plane",
        geometry="grid",
        axes=axes,
        blocks=(PointBlock(directions=lambda: vectors, coefficients=grid_coefficients(axes)),),
        directions=tuple(
            slices.Direction(
                name=f"direction_{index}",
                recipe={"kind": "plane", "through": list(corners), "weights": list(weights[index])},
                norm=norm(vector),
            )
            for index, vector in enumerate(vectors)
        ),
        cosine=cosine_of(products(vectors)),
        markers=tuple(
            PlannedMarker(name=name, coordinates=place, state=state)
            for name, place, state in zip(corners, places, (center.state, *others), strict=True)
        ),
        trajectory=planned_trajectory(center, vectors) if with_trajectory else None,
    )
