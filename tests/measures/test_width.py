from __future__ import annotations

import math

import numpy as np
import pytest

from slicer_core.measures import LossField, measure
from slicer_core.measures.width import width
from slicer_core.slices import Direction


def widths(data, rise: float | None = None):
    return width(LossField.of(data, "train"), rise=rise)


def test_a_parabola_has_the_width_of_its_chord(curve) -> None:
    """L = L₀ + c·α²/2 rises by δ at α = √(2δ/c); straight lines between points are as far off as the grid is coarse."""
    at, c, delta = np.linspace(-1, 1, 2001), 3.0, 0.2
    found = widths(curve(at, lambda a: 0.7 + c * a**2 / 2), delta)["width"]
    assert found.value == pytest.approx(2 * math.sqrt(2 * delta / c), abs=1e-5)
    assert found.details["delta"] == delta
    assert "cut" not in found.details


def test_by_default_the_rise_is_a_tenth_of_the_loss_and_at_least_a_hundredth(curve) -> None:
    at = np.linspace(-1, 1, 11)
    assert measure(curve(at, lambda a: 2 + a**2))["width"].details["delta"] == pytest.approx(0.2)
    assert measure(curve(at, lambda a: a**2))["width"].details["delta"] == pytest.approx(0.01)


def test_only_the_interval_that_holds_the_center_counts(curve) -> None:
    at = np.array([-3, -2, -1, 0, 1, 2, 3.0])
    found = widths(curve(at, [0, 0, 5, 0, 5, 0, 0]), 1.0)["width"]
    assert found.value == pytest.approx(0.4)
    assert (found.details["from"], found.details["to"]) == pytest.approx((-0.2, 0.2))


def test_an_end_at_the_limit_of_the_range_or_at_a_point_that_is_not_finite_is_flagged(curve) -> None:
    at = np.linspace(-1, 1, 5)
    flat = widths(curve(at, lambda a: 0 * a), 0.1)["width"]
    assert (flat.value, flat.details["cut"], flat.error) == (2.0, {"from": "range", "to": "range"}, None)
    broken = widths(curve(at, [9, np.nan, 0, 0, np.inf]), 0.1)["width"]
    assert (broken.details["from"], broken.details["to"]) == (0.0, 0.5)
    assert broken.details["cut"] == {"from": "not finite", "to": "not finite"}


def test_its_error_is_that_of_the_crossings(curve) -> None:
    """δ is crossed at slope 2, halfway from the center, which has none, to points with errors of 0.1 and of 0.3."""
    errors = [9, 0.1, 0, 0.3, 9]
    found = widths(curve([-2, -1, 0, 1, 2], lambda a: 2 * np.abs(a), errors=errors), 1.0)["width"]
    assert found.value == pytest.approx(1.0)
    assert found.error == pytest.approx((0.1 / 2 + 0.3 / 2) / 2)
    assert found.details["error"] == "upper bound"


def test_a_center_between_points_is_taken_from_the_header(curve) -> None:
    found = widths(curve([-1, 1], [1, 1], center=0.0), 0.5)["width"]
    assert found.value == pytest.approx(1.0)
    assert widths(curve([-1, 1], [1, 1])) == {}
    assert widths(curve([1, 2], [1, 1], center=0.0)) == {}


def test_one_point_has_width_zero_and_says_that_the_range_cuts_it(curve) -> None:
    found = widths(curve([0.0], [3.0]))["width"]
    assert (found.value, found.details["cut"]) == (0.0, {"from": "range", "to": "range"})


def test_a_grid_has_a_width_along_each_axis_in_both_units(grid) -> None:
    first, second = np.linspace(-1, 1, 201), np.linspace(-2, 2, 401)
    found = measure(grid(first, second, lambda a, b: 1 + 5 * a**2 + b**2, norms=(2.0, 3.0)))
    # δ = 0.1.
    assert found["width_0"].value == pytest.approx(2 * math.sqrt(0.02), abs=1e-3)
    assert found["width_1"].value == pytest.approx(2 * math.sqrt(0.1), abs=1e-3)
    assert found["width_0"].details["length"] == pytest.approx(2.0 * found["width_0"].value)
    assert found["width_1"].details["length"] == pytest.approx(3.0 * found["width_1"].value)


def test_a_grid_that_does_not_hold_the_center_has_none_across_it(grid) -> None:
    found = measure(grid([-1, 1], [-1, 0, 1], np.zeros((2, 3))))
    assert "width_0" not in found or found["width_0"].details["cut"]
    assert "width_1" not in found


def test_of_a_family_it_is_the_narrowest(family) -> None:
    at = np.linspace(-1, 1, 2001)
    found = measure(family(at, lambda a: 1 + a**2, lambda a: 1 + 10 * a**2, lambda a: 1 + 0 * a))["width"]
    assert found.value == pytest.approx(0.2, abs=1e-3)
    assert found.details["curve"] == "b"
    assert found.details["curves"] == pytest.approx({"a": 2 * math.sqrt(0.1), "b": 0.2, "c": 2.0}, abs=1e-3)


def test_a_curve_knows_the_norm_of_its_direction(curve) -> None:
    found = measure(curve([-1, 0, 1], [9, 0, 9], directions=(Direction(name="alpha", recipe={}, norm=4.0),)))["width"]
    assert found.details["length"] == pytest.approx(4 * found.value)
