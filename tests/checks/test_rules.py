"""Rules and tolerances: what they take, what they refuse, and what the arithmetic of a comparison says."""

from __future__ import annotations

import math
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicer_core.checks import Rule, compare_slices, find_quantity, find_tolerance, parse_rule, parse_tolerance
from slicer_core.errors import UsageError
from slicer_core.slices import Slice

OPERATORS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
PIECES = st.sampled_from(
    ["<", "<=", ">", "==", "!=", "=", "barrier", "a.b", "1", "-2.5", "1e9", "1e999", "nan", " ", "("]
)


@given(st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=6).map("".join)))
def test_any_text_is_a_rule_or_one_error(text: str):
    try:
        rule = parse_rule(text)
    except UsageError:
        return
    else:
        assert rule.operator in OPERATORS
        assert math.isfinite(rule.bound)
        assert rule.name == rule.name.strip() != ""


@given(
    st.from_regex(r"[a-z_]+(\.[a-z0-9_]+){0,3}", fullmatch=True),
    st.sampled_from(sorted(OPERATORS)),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(),
)
def test_a_rule_says_what_its_text_says_and_never_passes_nan(name: str, sign: str, bound: float, value: float):
    rule = parse_rule(f"{name} {sign} {bound!r}")
    assert rule == Rule(name=name, operator=sign, bound=bound)
    assert rule == parse_rule(f"{name}{sign}{bound!r}")
    assert rule.holds(value) == (OPERATORS[sign](value, bound) and not math.isnan(value))


@given(st.text(max_size=20))
def test_any_text_is_a_tolerance_or_one_error(text: str):
    try:
        tolerance = parse_tolerance(text)
    except UsageError:
        return
    else:
        assert tolerance.amount >= 0
        assert math.isfinite(tolerance.amount)


def test_the_tolerance_that_is_given_last_counts():
    given_ones = [parse_tolerance(text) for text in ("5%", "barrier=0.02", "center.*=1%")]
    allowed = {
        name: find_tolerance(name, given_ones).allowed(-2.0) for name in ("barrier", "center.loss.train", "width")
    }
    assert allowed == pytest.approx({"barrier": 0.02, "center.loss.train": 0.02, "width": 0.1})


def line(*, center: float = 1.0, **measures: Any) -> Slice:
    return Slice.from_dict(
        {
            "slice_type": "random_direction_1d",
            "geometry": "curve",
            "axes": [{"name": "alpha", "label": "α", "values": [-1.0, 0.0, 1.0]}],
            "arrays": [
                {"name": "loss", "split": "train", "role": "value", "values": [2.0, center, 3.0]},
                {"name": "loss", "split": "train", "role": "stderr", "values": [0.0, 0.05, 0.0]},
            ],
            "center": {"loss": {"train": center}, "metrics": {"top.5": {"train": 0.25}}},
            "measures": {
                name: value if isinstance(value, dict) else {"value": value, "error": None}
                for name, value in measures.items()
            },
        }
    )


@pytest.mark.parametrize(
    "name, before, after, change",
    [
        ("barrier", 1.0, 1.09, "same"),
        ("barrier", 1.0, 1.11, "worse"),
        ("barrier_test", 1.0, 1.11, "worse"),
        ("barrier", 1.0, 0.89, "better"),
        ("width_0", 1.0, 0.89, "worse"),
        ("width_0", 1.0, 1.11, "better"),
        ("roughness", 1.0, 1.11, "changed"),
        ("sharpness", {"value": 1.0, "error": 0.3}, {"value": 1.9, "error": 0.4}, "same"),
        ("sharpness", {"value": 1.0, "error": 0.3}, {"value": 2.1, "error": 0.4}, "worse"),
        ("sharpness", 1.0, {"value": 1.3, "error": 0.2}, "same"),
        ("barrier", 1.0, math.nan, "worse"),
        ("barrier", math.nan, math.nan, "worse"),
        ("barrier", math.nan, 1.0, "better"),
    ],
)
def test_what_changed_is_beyond_tolerance_and_two_standard_errors(name: str, before: Any, after: Any, change: str):
    (row,) = compare_slices(line(**{name: before}), line(**{name: after}), (), quantities=[name])
    assert row.change == change
    assert row.outcome == ("failed" if change == "worse" else "passed")
    (strict,) = compare_slices(line(**{name: before}), line(**{name: after}), (), quantities=[name], strict=True)
    assert strict.outcome == ("passed" if change == "same" else "failed")


def test_the_error_of_the_center_is_that_of_its_point():
    # 2·√(0.05² + 0.05²) = 0.1414
    for center, change in ((1.13, "same"), (1.15, "worse")):
        (row,) = compare_slices(line(), line(center=center), [parse_tolerance("0")])
        assert (row.quantity, row.change) == ("center.loss.train", change)


def test_a_quantity_that_the_new_slice_lacks_is_absent():
    (row,) = compare_slices(line(barrier=1.0), line(), (), quantities=["barrier"])
    assert row.outcome == "absent"


def test_numbers_are_found_by_path_by_measure_and_in_names_with_dots():
    data = line(
        eigenvalue_1={"value": 7.0, "error": 0.5, "details": {"residual": 0.1}},
        sharpness={"value": 2.0, "error": None, "details": {"bound": "lower"}},
    )
    wanted = {
        "center.metrics.top.5.train": 0.25,
        "sharpness.top_eigenvalue": 7.0,
        "eigenvalue_1.residual": 0.1,
        "measures.eigenvalue_1.error": 0.5,
        "axes.0.values.2": 1.0,
        "arrays.0.max": 3.0,
        "arrays.0.nonfinite": 0.0,
        "loss_increase": 2.0,
        "filled": 1.0,
    }
    found = {name: find_quantity(data, name) for name in wanted}
    assert {name: quantity and quantity.value for name, quantity in found.items()} == wanted
    bound = find_quantity(data, "sharpness")
    assert bound is not None
    assert str(bound) == "≥2"
    for name in ("barrier", "status", "sharpness.error", "axes.0.values.3", "axes.-1.name", "", ".", "a..b"):
        assert find_quantity(data, name) is None
