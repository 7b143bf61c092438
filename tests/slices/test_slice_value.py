from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from slicer_core.errors import FormatError, SlicerError
from slicer_core.slices import GEOMETRIES, Axis, Curve, Slice, SliceArray


def axis(*values: float, name: str = "alpha") -> Axis:
    return Axis(name=name, label=name, values=np.array(values))


def losses(*shape: int, **changes) -> SliceArray:
    return SliceArray(**({"name": "loss", "split": "train", "role": "value", "values": np.zeros(shape)} | changes))


def a_grid(**changes) -> Slice:
    fields = {
        "slice_type": "random_direction_2d",
        "geometry": "grid",
        "axes": (axis(0.0, 0.5, 1.0), axis(-1.0, 1.0, name="beta")),
        "arrays": (losses(3, 2),),
    }
    return Slice(**(fields | changes))


def test_a_grid_that_is_not_square_has_its_axes_in_order():
    values = np.arange(6.0).reshape(3, 2)
    data = a_grid(arrays=(losses(values=values),))
    assert data.shape == (3, 2)
    assert data.loss[2, 0] == 4.0


def test_a_transposed_grid_is_refused_with_both_shapes():
    with pytest.raises(FormatError, match=r"has shape \[2, 3\], but the axes give \[3, 2\]"):
        a_grid(arrays=(losses(2, 3),))


def test_curves_have_one_row_for_each_description():
    curves = tuple(Curve(name=f"p{number}", layer="0") for number in range(4))
    data = Slice(
        slice_type="axis_parallel",
        geometry="curves",
        axes=(axis(-1.0, 0.0, 1.0),),
        arrays=(losses(4, 3),),
        curves=curves,
    )
    assert data.shape == (4, 3)
    with pytest.raises(FormatError, match="description of each curve"):
        dataclasses.replace(data, curves=())
    with pytest.raises(FormatError, match="shape"):
        dataclasses.replace(data, curves=curves[:3])


@pytest.mark.parametrize("slice_type", sorted(GEOMETRIES))
def test_a_type_is_refused_with_a_geometry_that_it_does_not_have(slice_type):
    wrong = {"curve", "curves", "grid"} - set(GEOMETRIES[slice_type])
    for geometry in wrong:
        with pytest.raises(FormatError, match=f"{slice_type}.*not '{geometry}'"):
            a_grid(slice_type=slice_type, geometry=geometry)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slice_type": "landscape"}, "not one of linear_interpolation"),
        ({"status": "done"}, "status 'done'"),
        ({"filled": 1.5}, "from 0 to 1"),
        ({"filled": float("nan")}, "from 0 to 1"),
        ({"axes": (axis(0.0),)}, "2 axes, found 1"),
        ({"axes": (axis(), axis(0.0))}, "list of numbers"),
        ({"axes": (axis(0.0, float("nan"), 1.0), axis(0.0, 1.0))}, "finite"),
        ({"axes": (axis(0.0, float("inf"), 1.0), axis(0.0, 1.0))}, "finite"),
        ({"arrays": ()}, "at least one array"),
        ({"arrays": (losses(3, 2, role="mean"),)}, "role 'mean'"),
        ({"arrays": (losses(3, 2), losses(3))}, "shape"),
        ({"arrays": (losses(values=np.zeros((3, 2), np.float16)),)}, "float32, float64 or int64"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(FormatError, match=message) as caught:
        a_grid(**changes)
    assert isinstance(caught.value, SlicerError)


def test_arrays_are_found_by_name_split_and_role():
    count = losses(name="loss", role="count", values=np.ones((3, 2), np.int64))
    test = losses(split="test", values=np.full((3, 2), 2.0))
    accuracy = losses(name="accuracy", values=np.full((3, 2), 0.5))
    data = a_grid(arrays=(losses(3, 2), test, count, accuracy))
    assert data.splits == ("train", "test")
    assert data.array() is data.loss
    assert data.array(split="test") is test.values
    assert data.array(role="count") is count.values
    assert data.array("accuracy") is accuracy.values
    with pytest.raises(KeyError, match=r"accuracy \(train, value\)"):
        data.array("accuracy", "test")
