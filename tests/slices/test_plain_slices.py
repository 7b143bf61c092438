from __future__ import annotations

import numpy as np
import pytest
import torch

from slicer_core.errors import FormatError
from slicer_core.slices import Curve, Slice, decode_slice, encode_slice, slice_from_plain

LINE = {"samples": [(0.0, 2.5), (0.5, 1.0), (1.0, 3.0)], "start_loss": 2.5, "end_loss": 3.0}
FAMILY = {
    "slices": [
        {"parameter_index": 3, "parameter_name": "0.bias", "layer_name": "0", "samples": [(-1, 4.0), (1, 2.0)]},
        {"parameter_index": [1, 2], "parameter_name": "2.weight", "layer_name": "2", "samples": [(-1, 5.0), (1, 6.0)]},
    ]
}


def test_samples_make_a_line_with_its_ends_marked():
    data = slice_from_plain(LINE)
    assert (data.slice_type, data.geometry) == ("linear_interpolation", "curve")
    np.testing.assert_array_equal(data.axes[0].values, [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(data.loss, [2.5, 1.0, 3.0])
    assert [(marker.name, marker.coordinates, dict(marker.loss)) for marker in data.markers] == [
        ("start", (0.0,), {"train": 2.5}),
        ("end", (1.0,), {"train": 3.0}),
    ]
    assert data.center is not None
    assert data.center.loss == {"train": 2.5}


def test_the_losses_of_the_ends_may_be_left_out():
    data = slice_from_plain({"samples": LINE["samples"]})
    assert data.markers == ()
    assert data.center is None


def test_slices_make_a_family_of_curves():
    data = slice_from_plain(FAMILY)
    assert (data.slice_type, data.geometry) == ("axis_parallel", "curves")
    np.testing.assert_array_equal(data.axes[0].values, [-1.0, 1.0])
    np.testing.assert_array_equal(data.loss, [[4.0, 2.0], [5.0, 6.0]])
    assert data.curves == (
        Curve(name="0.bias", layer="0", index=(3,)),
        Curve(name="2.weight", layer="2", index=(1, 2)),
    )


@pytest.mark.parametrize("plain", [LINE, FAMILY])
def test_plain_data_is_stored_like_any_other(plain):
    data = slice_from_plain(plain)
    again = decode_slice(encode_slice(data))
    assert again.loss.tobytes() == data.loss.tobytes()
    assert (again.slice_type, again.curves, again.markers) == (data.slice_type, data.curves, data.markers)


def test_a_slice_and_its_dictionary_are_taken_as_they_are():
    data = slice_from_plain(LINE)
    assert slice_from_plain(data) is data
    again = slice_from_plain(data.to_dict())
    assert again.loss.tobytes() == data.loss.tobytes()
    assert again.markers == data.markers


def test_points_are_ordered_by_alpha():
    data = slice_from_plain({"samples": [(1.0, 3.0), (-1.0, 1.0), (0.0, 2.0)]})
    np.testing.assert_array_equal(data.axes[0].values, [-1.0, 0.0, 1.0])
    np.testing.assert_array_equal(data.loss, [1.0, 2.0, 3.0])


def test_losses_that_are_not_finite_are_kept():
    data = slice_from_plain({"samples": [(0, float("nan")), (1, float("inf")), (2, -0.0)], "end_loss": float("inf")})
    np.testing.assert_array_equal(data.loss, [np.nan, np.inf, -0.0])
    assert np.signbit(data.loss[2])
    assert data.markers[0].loss == {"train": float("inf")}


@pytest.mark.parametrize(
    "samples",
    [
        np.array([[0.0, 2.5], [1.0, 3.0]], dtype=np.float32),
        [(np.float32(0), np.float64(2.5)), (np.int64(1), 3)],
        [[0, torch.tensor(2.5, requires_grad=True)], [torch.tensor(1), torch.tensor([3.0])]],
        torch.tensor([[0.0, 2.5], [1.0, 3.0]]),
        ((alpha, loss) for alpha, loss in [(0, 2.5), (1, 3.0)]),
        zip([0, 1], [2.5, 3.0], strict=True),
    ],
)
def test_numbers_of_any_library_are_taken(samples):
    data = slice_from_plain({"samples": samples})
    np.testing.assert_array_equal(data.axes[0].values, [0.0, 1.0])
    np.testing.assert_array_equal(data.loss, [2.5, 3.0])
    assert data.loss.dtype == np.float64


def test_a_type_that_is_given_is_taken():
    assert slice_from_plain(LINE, "random_direction_1d").slice_type == "random_direction_1d"
    assert slice_from_plain(FAMILY, "layer_directions").slice_type == "layer_directions"
    assert slice_from_plain(slice_from_plain(LINE), "bezier_curve").slice_type == "bezier_curve"


@pytest.mark.parametrize(("plain", "slice_type"), [(LINE, "random_direction_2d"), (FAMILY, "linear_interpolation")])
def test_a_type_of_another_geometry_is_refused(plain, slice_type):
    with pytest.raises(FormatError, match="geometry"):
        slice_from_plain(plain, slice_type)


@pytest.mark.parametrize(
    "unknown",
    [
        {},
        {"loss": [1.0, 2.0]},
        LINE | {"values": 3},
        FAMILY | {"samples": []},
        {"start_loss": 1.0, "end_loss": 2.0},
        {"slice_type": "custom", "geometry": "curve", "axes": []},
        {3: 4},
        [(0.0, 1.0)],
        None,
        "samples",
        3.0,
    ],
)
def test_anything_else_is_an_error_that_shows_the_accepted_forms(unknown):
    with pytest.raises(FormatError) as caught:
        slice_from_plain(unknown)
    for part in ("Slice.to_dict()", "'samples': [(alpha, loss)", "'start_loss'", "'end_loss'", "'slices'"):
        assert part in str(caught.value)
    for key in ("parameter_index", "parameter_name", "layer_name"):
        assert key in str(caught.value)
    assert "found" in str(caught.value)


@pytest.mark.parametrize(
    ("samples", "where"),
    [
        ([], "samples is empty"),
        (3, "samples is a list"),
        ("0123", "samples is a list"),
        ({0: 1}, "samples is a list"),
        ([(0, 1), 2], r"samples\[1\] is a pair"),
        ([(0, 1, 2)], r"samples\[0\] is a pair"),
        (["01"], r"samples\[0\] is a pair"),
        ([(0, "1")], r"samples\[0\]'s loss is a number"),
        ([(None, 1)], r"samples\[0\]'s alpha is a number"),
        ([(0, torch.zeros(2))], r"samples\[0\]'s loss is a number"),
        ([(0, 1 + 2j)], r"samples\[0\]'s loss is a number"),
        ([(float("nan"), 1)], "alpha.*finite"),
    ],
)
def test_a_bad_sample_is_named_by_its_place(samples, where):
    with pytest.raises(FormatError, match=where):
        slice_from_plain({"samples": samples})


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (3, r"slices\[1\]"),
        ({"samples": [(0, 1)], "name": "w"}, r"slices\[1\].*keys of a curve"),
        ({"parameter_name": "w"}, r"slices\[1\].*keys of a curve"),
        ({"samples": [(-1, 1), (2, 1)]}, "other points"),
        ({"samples": [(-1, 1)]}, "other points"),
        ({"samples": [(-1, 1), (1, 1)], "parameter_index": 1.5}, "parameter_index.*1.5"),
        ({"samples": [(-1, 1), (1, 1)], "parameter_index": "3"}, "parameter_index"),
        ({"samples": [(-1, 1), (1, 1)], "layer_name": 3}, "layer_name"),
    ],
)
def test_a_bad_member_of_a_family_is_named_by_its_place(member, message):
    with pytest.raises(FormatError, match=message):
        slice_from_plain({"slices": [FAMILY["slices"][0], member]})


@pytest.mark.parametrize("members", [[], {}, None, 3])
def test_a_family_has_members(members):
    with pytest.raises(FormatError, match="at least one"):
        slice_from_plain({"slices": members})


def test_the_stored_form_keeps_its_own_error():
    with pytest.raises(FormatError, match="geometry"):
        slice_from_plain(slice_from_plain(LINE).to_dict() | {"geometry": "sphere"})


def test_a_parameter_without_a_name_is_called_by_its_index():
    data = slice_from_plain({"slices": [{"samples": [(0, 1)], "parameter_index": 7}, {"samples": [(0, 1)]}]})
    assert [curve.name for curve in data.curves] == ["parameter 7", "parameter"]
    assert isinstance(data, Slice)
