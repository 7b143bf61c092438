"""The measures at the end of a run, in terminals of any width and without one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from loss_slicer.measure_table import describe_measure, measure_table
from slicer_core.job import FinishedSlice
from slicer_core.slices import Axis, Measure, Slice, SliceArray

MEASURES = {
    "width": Measure(value=1.25, error=0.031, details={"cut": {"from": "range"}}),
    "curvature": Measure(value=12.34, error=0.5),
    "non_finite_share": Measure(value=0.0),
    "sharpness": Measure(value=0.5, error=0.04, details={"bound": "lower"}),
    "width_test": Measure(value=3.0),
    "of_tomorrow": Measure(value=7.0),
}


def finished(step: int, measures: dict[str, Measure]) -> FinishedSlice:
    data = Slice(
        slice_type="random_direction_1d",
        geometry="curve",
        axes=(Axis(name="a", label="a", values=np.arange(3.0)),),
        arrays=tuple(
            SliceArray(name="loss", split=split, role="value", values=np.zeros(3)) for split in ("train", "test")
        ),
        measures=measures,
    )
    return FinishedSlice(
        source="sgd", run_dir=Path("runs"), tag="random1d", step=step, wall_time=0.0, data=data, stored=False
    )


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (Measure(value=0.123456, error=0.01234), "0.123±0.01"),
        (Measure(value=2.0), "2"),
        (Measure(value=float("nan")), "nan"),
        (Measure(value=float("inf"), error=0.1), "inf"),
        (Measure(value=1.0, error=float("nan")), "1"),
        (MEASURES["width"], "≥1.25±0.03"),
        (MEASURES["sharpness"], "≥0.5±0.04"),
        (None, "-"),
    ],
)
def test_a_cell_has_the_value_its_error_and_whether_it_is_a_bound(measure, text) -> None:
    assert describe_measure(measure) == text


def test_columns_are_those_of_the_first_split_and_tell_something() -> None:
    table = measure_table([finished(0, MEASURES), finished(10, {"curvature": Measure(value=1.0)})], None)
    assert table is not None
    assert table.columns == ("source", "step", "sharpness", "width", "curvature", "of tomorrow")
    assert table.rows[1] == ("sgd", "10", "-", "-", "1", "-")
    assert table.left_out == ()
    some = measure_table([finished(0, {"non_finite_share": Measure(value=0.25)})], None)
    assert some is not None
    assert some.columns == ("source", "step", "non finite share")


@pytest.mark.parametrize("width", [10, 24, 30, 40, 60, 200])
def test_it_keeps_to_the_width_and_names_what_it_leaves_out(width) -> None:
    table = measure_table([finished(0, MEASURES)], width)
    assert table is not None
    columns = list(zip(table.columns, *table.rows, strict=True))
    used = sum(max(map(len, column)) for column in columns) + 2 * (len(columns) - 1)
    # Source, step and one measure are always there.
    assert used <= max(width, 23)
    assert len(table.columns) - 2 + len(table.left_out) == 4


def test_without_measures_there_is_no_table() -> None:
    assert measure_table([finished(0, {})], 80) is None


def test_a_run_shows_them_and_json_has_them_all(run) -> None:
    shown = run(method="random1d", grid="5", steps="200,2000").stdout
    (head,) = [line for line in shown.splitlines() if "curvature" in line]
    assert head.split()[:2] == ["source", "step"]
    assert "largest increase" in head
    document = json.loads(run("--json", "--quiet", method="random1d", grid="5", steps="200,2000").stdout)
    measures = document["slices"][0]["header"]["measures"]
    assert {"width", "curvature", "roughness", "largest_increase", "non_finite_share", "persistence"} <= set(measures)
    assert measures["curvature"]["error"] > 0
    assert measures["persistence"]["details"]["lowest"]["at"]
