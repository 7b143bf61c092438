"""The exported files: every value reads back, and no text runs or escapes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slicer_core.errors import UsageError
from slicer_core.slices import Axis, Slice, SliceArray
from slicer_core.slices.export import EXPORT_FORMATS, export_slice, neutralize_text


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


@pytest.mark.parametrize("name", sorted(EXPORT_FORMATS))
def test_the_same_slice_gives_the_same_bytes(name: str) -> None:
    values = np.array([1.0, np.nan, -np.inf])
    assert export_slice(line_slice(values), name) == export_slice(line_slice(values), name)


def test_an_unknown_format_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'xls' is not one of csv, npz, json"):
        export_slice(line_slice(np.zeros(2)), "xls")
