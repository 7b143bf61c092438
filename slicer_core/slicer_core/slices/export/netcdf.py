"""netCDF by xarray: arrays with named dimensions and their coordinates, so that they open labeled. Extra: `netcdf`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slicer_core.errors import UsageError
from slicer_core.slices.export.fields import array_label, header_fields, plain_name

if TYPE_CHECKING:
    from slicer_core.slices.slice import Slice


def encode_netcdf(data: Slice) -> bytes:
    """A netCDF-4 file, `xarray.open_dataset` reads it.

    Dimensions are the axes by name, and `curve` for a family, whose coordinate is the curves' names. Variables are the
    arrays by name, split and role, such as `loss_train`. The header is the attribute `header`, as JSON text.

    Raises:
        UsageError: xarray, h5netcdf or h5py is not installed.
    """
    try:
        import h5netcdf  # noqa: F401 - what xarray writes with
        import h5py  # noqa: F401 - what h5netcdf writes with
        import xarray
    except ImportError as error:
        raise UsageError(
            "netCDF needs xarray, h5netcdf and h5py, of which one is not installed: "
            "pip install 'tensorboard-loss-slicer[netcdf]'"
        ) from error
    coordinates: dict[str, Any] = {}
    dimensions: list[str] = []
    if data.geometry == "curves":
        dimensions.append("curve")
        # HDF5 has no place for a lone surrogate or a zero byte.
        names = [curve.name.encode("utf-8", "replace").decode().replace("\0", "?") for curve in data.curves]
        coordinates["curve"] = ("curve", names)
    for axis in data.axes:
        name = plain_name(axis.name, coordinates)
        dimensions.append(name)
        coordinates[name] = (name, axis.values, {"long_name": axis.label.replace("\0", "?")})
    variables: dict[str, Any] = {}
    for array in data.arrays:
        label = array_label(array)
        name = plain_name(label, coordinates.keys() | variables.keys())
        variables[name] = (dimensions, array.values, {"long_name": label.replace("\0", "?")})
    attributes = {"title": f"loss slice: {data.slice_type}", "header": json.dumps(header_fields(data))}
    dataset = xarray.Dataset(variables, coords=coordinates, attrs=attributes)
    return bytes(dataset.to_netcdf(engine="h5netcdf"))
