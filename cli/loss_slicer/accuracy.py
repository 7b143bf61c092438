"""What a person must know of a slice's values: how many were interpolated, and how far half precision may be off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_UP, Context
from typing import Any

_DIGITS = 2


def describe_accuracy(evaluation: Mapping[str, Any]) -> list[str]:
    """A text for each split and each of `tolerance` and `precision` of a slice's header; none where all is exact."""
    name = evaluation.get("dtype", "half precision")
    found = [("", split, _interpolation(told)) for split, told in evaluation.get("tolerance", {}).items()]
    found += [(f"{name}: ", split, _precision(told)) for split, told in evaluation.get("precision", {}).items()]
    several = len(evaluation.get("samples", {})) > 1
    return [f"{start}{f'{split}: ' if several else ''}{text}" for start, split, text in found]


def _interpolation(told: Mapping[str, Any]) -> str:
    evaluated = told["points_evaluated"]
    text = f"{evaluated:,} of {evaluated + told['points_interpolated']:,} points evaluated"
    bound = told["error_bound"]
    return f"{text}, no bound on the error" if bound is None else f"{text}, expected error at most {_rounded_up(bound)}"


def _precision(told: Mapping[str, Any]) -> str:
    largest, again = told["largest_relative_difference"], told["points_again_in_float32"]
    points = _points(told["compared_points"])
    text = f"off by at most {_rounded_up(100 * largest)}% at {points}" if largest is not None else "not compared"
    return text + (f", {_points(again)} again in float32" if again else "")


def _points(number: int) -> str:
    return f"{number:,} point{'' if number == 1 else 's'}"


def _rounded_up(value: float) -> str:
    """In few digits, and never less than the value."""
    if not math.isfinite(value):
        return str(value)
    return f"{float(Context(prec=_DIGITS, rounding=ROUND_UP).create_decimal(repr(float(value)))):.{_DIGITS}g}"
