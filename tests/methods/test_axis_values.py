from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicer_core.errors import UsageError
from slicer_core.plan import axis_values, grid_coefficients, parse_grid, parse_range
from slicer_core.slices import Axis

FINITE = st.floats(-1e6, 1e6)


@given(low=FINITE, width=st.floats(1e-3, 1e6), points=st.integers(2, 120), anchors=st.lists(FINITE, max_size=4))
def test_values_rise_from_low_to_high_with_every_anchor_on_them(low, width, points, anchors) -> None:
    high = low + width
    inside = {anchor for anchor in anchors if low < anchor < high}
    try:
        values = axis_values(low, high, points, anchors=anchors)
    except UsageError:
        # Too few points for the anchors, or anchors closer than floating numbers can be told apart.
        assert points < len(inside) + 2 or min(np.diff(sorted([low, *inside, high]))) < 1e-6
        return
    assert values.dtype == np.float64
    assert len(values) == points
    assert (values[0], values[-1]) == (low, high)
    assert (np.diff(values) > 0).all()
    assert inside <= set(values.tolist())


@given(low=st.floats(), high=st.floats(), points=st.integers(-2, 60))
def test_any_numbers_give_rising_finite_values_or_a_usage_error(low, high, points) -> None:
    try:
        values = axis_values(low, high, points)
    except UsageError:
        return
    assert np.isfinite(values).all()
    assert (np.diff(values) > 0).all()


@pytest.mark.parametrize("points", [2, 3, 11, 51, 101])
def test_values_are_even_where_there_is_no_anchor_between_them(points) -> None:
    np.testing.assert_allclose(axis_values(-1, 2, points), np.linspace(-1, 2, points), atol=1e-15)


def test_zero_is_exact_where_the_spacing_meets_it() -> None:
    assert 0.0 in axis_values(-0.3, 0.6, 10)
    assert 0.0 not in axis_values(-0.3, 0.5, 10)


def test_between_anchors_the_spacing_is_even_and_shared_by_length() -> None:
    values = axis_values(-0.5, 1.5, 50, anchors=(0.0, 1.0))
    steps = np.diff(values)
    assert {0.0, 1.0} <= set(values.tolist())
    assert steps.max() / steps.min() < 1.1
    for low, high in ((-0.5, 0.0), (0.0, 1.0), (1.0, 1.5)):
        inside = values[(values >= low) & (values <= high)]
        np.testing.assert_allclose(np.diff(inside), np.diff(inside)[0], rtol=1e-12)


def test_anchors_outside_the_range_or_at_its_ends_change_nothing() -> None:
    np.testing.assert_array_equal(axis_values(0, 1, 7, anchors=(0.0, 1.0, 5.0)), axis_values(0, 1, 7))


@pytest.mark.parametrize(
    ("low", "high"), [(1, -1), (0, 0), (float("nan"), 1), (0, float("nan")), (0, float("inf")), (-1e308, 1e308)]
)
def test_a_range_that_is_none_is_refused(low, high) -> None:
    with pytest.raises(UsageError, match="--range"):
        axis_values(low, high, 5)


@pytest.mark.parametrize("points", [-1, 0, 1, 10**9])
def test_too_few_and_too_many_points_are_refused(points) -> None:
    with pytest.raises(UsageError, match="--grid"):
        axis_values(0, 1, points)


def test_points_that_can_not_hold_the_anchors_are_refused_with_the_number_that_can() -> None:
    with pytest.raises(UsageError, match="give 4 or more"):
        axis_values(-0.5, 1.5, 3, anchors=(0.0, 1.0))
    assert axis_values(-0.5, 1.5, 4, anchors=(0.0, 1.0)).tolist() == [-0.5, 0.0, 1.0, 1.5]


def test_the_last_axis_is_the_fastest() -> None:
    axes = [
        Axis(name=name, label="", values=np.array(values)) for name, values in (("a", [0.0, 1.0]), ("b", [5, 6, 7]))
    ]
    assert grid_coefficients(axes).tolist() == [[0, 5], [0, 6], [0, 7], [1, 5], [1, 6], [1, 7]]


@pytest.mark.parametrize(
    ("text", "axes", "expected"), [("51", 1, (51,)), ("51", 2, (51, 51)), ("51x31", 2, (51, 31)), (" 2 ", 1, (2,))]
)
def test_grid_texts(text, axes, expected) -> None:
    assert parse_grid(text, axes) == expected


@pytest.mark.parametrize(
    ("text", "axes"),
    [
        ("", 1),
        ("0", 1),
        ("1", 1),
        ("51x1", 2),
        ("51x31", 1),
        ("5x5x5", 2),
        ("x5", 2),
        ("-5", 1),
        ("5.0", 1),
        ("5*5", 2),
    ],
)
def test_grid_texts_that_are_refused(text, axes) -> None:
    with pytest.raises(UsageError, match="--grid"):
        parse_grid(text, axes)


@pytest.mark.parametrize(
    ("text", "axes", "expected"),
    [
        ("-1:1", 1, ((-1, 1),)),
        ("0:2", 2, ((0, 2), (0, 2))),
        ("-1:1,0:2.5", 2, ((-1, 1), (0, 2.5))),
        ("1e-3:1e3", 1, ((1e-3, 1e3),)),
    ],
)
def test_range_texts(text, axes, expected) -> None:
    assert parse_range(text, axes) == expected


@pytest.mark.parametrize(
    ("text", "axes"),
    [("", 1), ("1", 1), ("1:", 1), (":1", 1), ("1:-1", 1), ("1:1", 1), ("nan:1", 1), ("0:inf", 1), ("0:1:2", 1),
     ("0:1,0:1", 1), ("0:1,", 2), ("a:b", 1)],
)  # fmt: skip
def test_range_texts_that_are_refused(text, axes) -> None:
    with pytest.raises(UsageError, match="--range"):
        parse_range(text, axes)


@given(text=st.text(alphabet="0123456789x:,.-einfa ", max_size=14), axes=st.integers(1, 2))
def test_any_text_is_a_grid_and_a_range_or_a_usage_error(text, axes) -> None:
    for parse in (parse_grid, parse_range):
        try:
            assert len(parse(text, axes)) == axes
        except UsageError as error:
            assert "--" in str(error)  # noqa: PT017 - either outcome is right
