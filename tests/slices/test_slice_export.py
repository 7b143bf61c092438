"""The exported files: every value reads back, and no text runs or escapes."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slicer_core.errors import UsageError
from slicer_core.slices import Axis, Curve, Slice, SliceArray
from slicer_core.slices.export import EXPORT_FORMATS, SERVED_FORMATS, export_slice, neutralize_text


def line_slice(values: np.ndarray, name: str = "loss", split: str = "train") -> Slice:
    return Slice(
        slice_type="custom",
        geometry="curve",
        axes=(Axis(name="a", label="a", values=np.arange(float(values.size))),),
        arrays=(
            SliceArray(name=name, split=split, role="value", values=values),
            SliceArray(name=name, split=split, role="value", values=values),
        ),
    )


ARRAYS = st.sampled_from([np.float32, np.float64, np.int64]).flatmap(lambda dtype: hnp.arrays(dtype, st.integers(1, 8)))


@given(ARRAYS)
def test_every_value_of_every_dtype_reads_back_the_same(values: np.ndarray) -> None:
    data = line_slice(values)
    rows = list(csv.reader(io.StringIO(export_slice(data, "csv").decode())))[1:]
    from_csv = [np.array(row[1]).astype(values.dtype) for row in rows]
    from_json = json.loads(export_slice(data, "json"))["arrays"][0]["values"]
    from_npz = np.load(io.BytesIO(export_slice(data, "npz")), allow_pickle=False)["loss_train"]
    np.testing.assert_array_equal(np.array(from_csv), values)
    np.testing.assert_array_equal(
        np.array([float(x) if isinstance(x, str) else x for x in from_json], dtype=values.dtype), values
    )
    np.testing.assert_array_equal(from_npz, values)
    assert from_npz.dtype == values.dtype


@given(st.text())
def test_a_neutralized_text_never_begins_as_a_formula_and_others_stay(text: str) -> None:
    cell = neutralize_text(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cell in (text, "'" + text)
    assert neutralize_text("x" + text) == "x" + text


def test_the_last_axis_of_a_grid_runs_fastest() -> None:
    data = Slice(
        slice_type="plane",
        geometry="grid",
        axes=(
            Axis(name="u", label="u", values=np.array([0.0, 1.0])),
            Axis(name="v", label="v", values=np.array([0.0, 0.5, 2.0])),
        ),
        arrays=(SliceArray(name="loss", split="train", role="value", values=np.arange(6.0).reshape(2, 3)),),
    )
    lines = export_slice(data, "csv").decode().splitlines()
    assert lines == [
        "u,v,loss_train",
        "0.0,0.0,0.0",
        "0.0,0.5,1.0",
        "0.0,2.0,2.0",
        "1.0,0.0,3.0",
        "1.0,0.5,4.0",
        "1.0,2.0,5.0",
    ]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\\b", "\x00", "\ud800", "C:x", "file", "l" * 5000, ""])
def test_odd_names_of_arrays_are_plain_entries_of_an_archive(name: str) -> None:
    archive = np.load(io.BytesIO(export_slice(line_slice(np.zeros(2), name, name), "npz")), allow_pickle=False)
    entries = [entry for entry in archive if entry not in ("header", "axis0")]
    assert len(entries) == 2
    for entry in entries:
        assert PurePosixPath(entry).name == entry
        assert entry.replace("_", "").isalnum()
        assert len(entry) < 80


def grid_slice(values: np.ndarray) -> Slice:
    axes = tuple(
        Axis(name=name, label=f"{name} axis", values=np.linspace(0, 1, size) ** 2)
        for name, size in zip("uv", values.shape, strict=True)
    )
    array = SliceArray(name="loss", split="train", role="value", values=values)
    return Slice(slice_type="plane", geometry="grid", axes=axes, arrays=(array,))


def family_slice(values: np.ndarray) -> Slice:
    return Slice(
        slice_type="axis_parallel",
        geometry="curves",
        axes=(Axis(name="alpha", label="offset", values=np.linspace(-1, 1, values.shape[1])),),
        arrays=(SliceArray(name="loss", split="train", role="value", values=values),),
        curves=tuple(Curve(name=f"=weight[{row}]\0", layer="l") for row in range(values.shape[0])),
    )


def read_vtk(content: bytes, folder: Path) -> Any:
    """What VTK's own reader makes of a file."""
    from vtkmodules.vtkIOXML import vtkXMLRectilinearGridReader

    path = folder / "slice.vtr"
    path.write_bytes(content)
    reader = vtkXMLRectilinearGridReader()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


@pytest.mark.parametrize("make", [grid_slice, family_slice])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_netcdf_opens_labeled_with_every_value(make: Callable[[np.ndarray], Slice], dtype: type) -> None:
    values = np.arange(15).reshape(3, 5).astype(dtype)
    if dtype is not np.int64:
        values[0, 0], values[2, 4] = np.nan, -np.inf
    data = make(values)

    opened = xarray.open_dataset(io.BytesIO(export_slice(data, "netcdf")))

    assert opened["loss_train"].dtype == dtype
    np.testing.assert_array_equal(opened["loss_train"].values, values)
    if data.geometry == "grid":
        assert opened["loss_train"].dims == ("u", "v")
        np.testing.assert_array_equal(opened["u"].values, data.axes[0].values)
        assert opened["v"].attrs["long_name"] == "v axis"
    else:
        assert opened["loss_train"].dims == ("curve", "alpha")
        assert opened["curve"].values.tolist() == [f"=weight[{row}]?" for row in range(3)]
    assert json.loads(opened.attrs["header"])["slice_type"] == data.slice_type


@pytest.mark.parametrize("make", [grid_slice, family_slice])
def test_vtk_reads_each_value_at_its_own_coordinates(make: Callable[[np.ndarray], Slice], tmp_path: Path) -> None:
    values = np.arange(15.0).reshape(3, 5)
    values[1, 2] = np.nan
    data = make(values)

    grid = read_vtk(export_slice(data, "vtk"), tmp_path)

    assert grid.GetPointData().GetScalars().GetName() == "loss_train"
    assert grid.GetNumberOfPoints() == 15
    for number in range(15):
        x, y, z = grid.GetPoint(number)
        i, j = (
            (list(data.axes[0].values).index(x), list(data.axes[1].values).index(y))
            if data.geometry == "grid"
            else (int(y), list(data.axes[0].values).index(x))
        )
        assert z == 0
        np.testing.assert_array_equal(grid.GetPointData().GetScalars().GetValue(number), values[i, j])


@pytest.mark.parametrize("library, name", [("h5netcdf", "netcdf"), ("h5py", "netcdf"), ("vtkmodules", "vtk")])
def test_without_its_library_a_format_names_the_extra(library: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=rf"tensorboard-loss-slicer\[{name}\]"):
        export_slice(line_slice(np.zeros(2)), name)


def test_only_what_needs_no_library_is_served() -> None:
    assert sorted(SERVED_FORMATS) == ["csv", "json", "npz"]


@pytest.mark.parametrize("name", sorted(EXPORT_FORMATS))
def test_the_same_slice_gives_the_same_bytes(name: str) -> None:
    values = np.array([1.0, np.nan, -np.inf])
    assert export_slice(line_slice(values), name) == export_slice(line_slice(values), name)


def test_an_unknown_format_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'xls' is not one of csv, npz, json, netcdf, vtk"):
        export_slice(line_slice(np.zeros(2)), "xls")
