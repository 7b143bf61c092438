"""What a slice gets by itself, and what `measure` says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from slicer_core import AxisParallelSlicer, EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import UsageError
from slicer_core.measures import MEASURES, measure
from slicer_core.slices import decode_slice, encode_slice
from slicer_core.tolerance import Tolerance

PAGE = (Path(__file__).parents[2] / "docs" / "measures.md").read_text("utf-8")


def a_wrapper(samples: int = 30) -> ModelWrapper:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    return ModelWrapper(model, nn.CrossEntropyLoss(), (torch.randn(samples, 3), torch.randint(0, 2, (samples,))))


def test_slices_of_every_geometry_carry_their_measures_and_keep_them_when_stored() -> None:
    wrapper = a_wrapper()
    slicer = RandomDirectionSlicer(wrapper, progress=False)
    taken = [
        slicer.slice_1d(n_samples=5),
        slicer.slice_2d(grid_size=5),
        AxisParallelSlicer(wrapper, progress=False).slice(n_samples=5),
    ]
    for data, name in zip(taken, ("width", "width_0", "width"), strict=True):
        assert name in data.measures
        again = decode_slice(encode_slice(data))
        assert set(again.measures) == set(data.measures)
        assert again.measures[name].details == data.measures[name].details
        assert again.measures[name].value == data.measures[name].value


def test_measure_gives_the_named_ones(curve) -> None:
    data = curve([-1, 0, 1], [1, 0, 1])
    assert set(measure(data, ["width"])) == {"width"}
    assert measure(data, ["barrier"]) == {}
    assert {"width"} <= set(measure(data))


def test_an_unknown_name_is_told_with_the_names_there_are(curve) -> None:
    with pytest.raises(UsageError, match=r"names 'widht' \(nearest: width\).*barrier"):
        measure(curve([0, 1], [0, 1]), ["widht"])


@pytest.mark.parametrize("row", MEASURES.values(), ids=lambda row: row.name)
def test_every_measure_says_what_it_is_and_where_it_comes_from(row) -> None:
    assert row.function().__doc__
    assert row.summary
    assert f"| `{row.name}`" in PAGE


def test_the_error_of_a_difference_is_that_of_the_samples_own_differences() -> None:
    wrapper = a_wrapper(50)
    found = RandomDirectionSlicer(
        wrapper, settings=EvaluationSettings(dtype=torch.float64, strategy="loop"), progress=False
    ).slice_1d(n_samples=3, params=("0.weight",), normalize="none")
    errors = found.array("loss", role="difference_stderr")
    assert errors.dtype == np.float32
    assert errors[1] == pytest.approx(0.0, abs=1e-7)
    # The center lies on the grid, so that the paired error is below that of two samples that have nothing in common.
    assert (errors[[0, 2]] < np.hypot(found.array(role="stderr")[[0, 2]], found.array(role="stderr")[1])).all()
    assert (errors[[0, 2]] > 0).all()


def test_with_a_tolerance_every_point_has_an_error_of_its_difference_to_the_center() -> None:
    settings = EvaluationSettings(tolerance=Tolerance.parse("0.05"))
    found = RandomDirectionSlicer(a_wrapper(200), settings=settings, progress=False).slice_2d(grid_size=9)
    errors = found.array("loss", role="difference_stderr")
    assert np.isfinite(errors).all()
    assert errors[4, 4] == pytest.approx(0.0, abs=1e-6)
    assert (errors >= 0).all()
