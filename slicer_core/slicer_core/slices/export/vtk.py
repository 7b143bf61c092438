"""VTK's XML format for ParaView and other viewers: a rectilinear grid with the arrays at its points. Extra: `vtk`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slicer_core.errors import UsageError
from slicer_core.slices.export.fields import array_label, plain_name

if TYPE_CHECKING:
    from slicer_core.slices.slice import Slice


def encode_vtk(data: Slice) -> bytes:
    """A `.vtr` file. x is the first axis and y the second; for a family, y counts the curves.

    The first array is the active scalar, so that ParaView's *Warp By Scalar* makes the surface at once.

    Raises:
        UsageError: vtk is not installed.
    """
    try:
        from vtkmodules.util.numpy_support import numpy_to_vtk
        from vtkmodules.vtkCommonDataModel import vtkRectilinearGrid
        from vtkmodules.vtkIOXML import vtkXMLRectilinearGridWriter
    except ImportError as error:
        raise UsageError(
            "VTK files need vtk, which is not installed: pip install 'tensorboard-loss-slicer[vtk]'"
        ) from error
    first = data.axes[0].values
    if data.geometry == "grid":
        second = data.axes[1].values
    else:
        second = np.arange(len(data.curves) if data.geometry == "curves" else 1)
    grid = vtkRectilinearGrid()
    grid.SetDimensions(first.size, second.size, 1)
    for name, set_coordinates, places in (
        ("x", grid.SetXCoordinates, first),
        ("y", grid.SetYCoordinates, second),
        ("z", grid.SetZCoordinates, np.zeros(1)),
    ):
        coordinates = numpy_to_vtk(places.astype(np.float64), deep=True)
        # Without a name of its own it is called after its address, and the same slice would give other bytes.
        coordinates.SetName(name)
        set_coordinates(coordinates)
    names: list[str] = []
    for array in data.arrays:
        # VTK's points run along x first.
        order = "F" if data.geometry == "grid" else "C"
        values = numpy_to_vtk(array.values.ravel(order=order), deep=True)
        names.append(plain_name(array_label(array), names))
        values.SetName(names[-1])
        grid.GetPointData().AddArray(values)
    grid.GetPointData().SetActiveScalars(names[0])
    writer = vtkXMLRectilinearGridWriter()
    writer.SetInputData(grid)
    writer.SetWriteToOutputString(True)
    writer.Write()
    return writer.GetOutputString().encode("latin-1")
