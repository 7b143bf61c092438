"""One scalar parameter at a time: the loss along coordinate axes of parameter space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from slicer_core import slices
from slicer_core.directions import Coordinate, coordinate_direction, coordinates_at, parse_selection
from slicer_core.methods.method import CenterPoint, Method, SliceOptions, axis_settings, refuse_interpolation
from slicer_core.methods.slicer import Point, Slicer
from slicer_core.parameters import NamedTensors, rows_of, shapes_of
from slicer_core.plan import PointBlock, SlicePlan, axis_values, grid_coefficients
from slicer_core.slices import Slice

DEFAULT_COUNT = 10
DEFAULT_SELECTION = f"0:{DEFAULT_COUNT}"


@dataclass(frozen=True, kw_only=True)
class Axis(Method):
    """A curve for each selected scalar; the axis is the offset from its value at the center.

    `params_to_slice`: a selection as text, see `parse_selection`, or numbers counted through the parameters that may
    vary, in the model's order.
    """

    params_to_slice: str | tuple[int, ...] = DEFAULT_SELECTION

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        refuse_interpolation(options)
        parameters = center.varying(options)
        ((points, low, high),) = axis_settings(options, grid=(51,), range=((-1.0, 1.0),))
        axis = slices.Axis(name="offset", label="offset from the center's value", values=axis_values(low, high, points))
        coefficients = grid_coefficients((axis,))
        selection, notes = self._clipped(parameters)
        if isinstance(selection, str):
            chosen = parse_selection(selection, parameters, seed=options.seed)
        else:
            chosen, selection = coordinates_at(parameters, selection), ",".join(map(str, selection))
        return SlicePlan(
            slice_type="axis_parallel",
            geometry="curves",
            axes=(axis,),
            blocks=tuple(
                PointBlock(directions=partial(_directions, parameters, coordinate), coefficients=coefficients)
                for coordinate in chosen
            ),
            curves=tuple(_curve(parameters, coordinate) for coordinate in chosen),
            directions=(
                slices.Direction(name="offset", recipe={"kind": "axis", "params_to_slice": selection}, norm=1.0),
            ),
            notes=notes,
        )

    def _clipped(self, parameters: NamedTensors) -> tuple[str | tuple[int, ...], tuple[str, ...]]:
        """The selection, with the default cut to what there is, and a note where it was."""
        total = sum(tensor.numel() for tensor in shapes_of(parameters).values())
        if self.params_to_slice != DEFAULT_SELECTION or total >= DEFAULT_COUNT:
            return self.params_to_slice, ()
        note = f"--params-to-slice {DEFAULT_SELECTION} is 0:{total} here, all scalars that can vary"
        return f"0:{total}", (note,)


class AxisParallelSlicer(Slicer):
    """Slices of a wrapped model along single scalar parameters."""

    def slice(
        self,
        center_point: Point | None = None,
        bounds: tuple[float, float] = (-1.0, 1.0),
        n_samples: int = 51,
        params_to_slice: Sequence[int] | str = DEFAULT_SELECTION,
        *,
        seed: int = 0,
        params: tuple[str, ...] = (),
    ) -> Slice:
        """A curve for each scalar around `center_point` (default: the current parameters).

        `bounds` are offsets from each scalar's value. `params_to_slice` counts scalars through all parameters that are
        not frozen, in the model's order, or is a text such as `largest:20`.

        Raises:
            SlicerError: an index is out of range, or an argument does not fit the model or its data.
        """
        selection = params_to_slice if isinstance(params_to_slice, str) else tuple(params_to_slice)
        options = SliceOptions.given(1, n_samples, bounds, params=params, seed=seed)
        return self.take("axis", Axis(params_to_slice=selection), center_point, options)


def _directions(parameters: NamedTensors, coordinate: Coordinate) -> tuple[NamedTensors]:
    return (coordinate_direction(parameters, coordinate),)


def _curve(parameters: NamedTensors, coordinate: Coordinate) -> slices.Curve:
    row, *within = coordinate.index or (0,)
    rows = rows_of(parameters, coordinate.name, row, row + 1)
    return slices.Curve(
        name=f"{coordinate.name}[{','.join(map(str, coordinate.index))}]",
        layer=coordinate.name.rpartition(".")[0] or coordinate.name,
        index=coordinate.index,
        shape=tuple(shapes_of(parameters)[coordinate.name].shape),
        center=(rows[0, *within] if rows.ndim else rows).item(),
    )
