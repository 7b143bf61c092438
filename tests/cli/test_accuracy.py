"""What is said of values that are not exact."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from loss_slicer.accuracy import describe_accuracy

Run = Callable[..., Result]


def to_tolerance(bound: float | None) -> dict[str, Any]:
    return {"points_evaluated": 23, "points_interpolated": 2002, "error_bound": bound}


def in_half(largest: float | None, again: int = 0) -> dict[str, Any]:
    return {"compared_points": 8, "largest_relative_difference": largest, "points_again_in_float32": again}


EVALUATED = "23 of 2,025 points evaluated"


@pytest.mark.parametrize(
    ("evaluation", "texts"),
    [
        ({"dtype": "model"}, []),
        ({"tolerance": {"train": to_tolerance(2.9e-4)}}, [f"{EVALUATED}, expected error at most 0.00029"]),
        # What is rounded is still a bound.
        ({"tolerance": {"train": to_tolerance(2.91e-4)}}, [f"{EVALUATED}, expected error at most 0.0003"]),
        ({"tolerance": {"train": to_tolerance(None)}}, [f"{EVALUATED}, no bound on the error"]),
        (
            {"dtype": "bfloat16", "precision": {"train": in_half(0.0015912)}},
            ["bfloat16: off by at most 0.16% at 8 points"],
        ),
        (
            {"dtype": "float16", "precision": {"train": in_half(None, 1)}},
            ["float16: not compared, 1 point again in float32"],
        ),
        (
            {
                "dtype": "bfloat16",
                "samples": {"train": 10, "test": 10},
                "precision": {"train": in_half(0.01), "test": in_half(0.02)},
            },
            [
                "bfloat16: train: off by at most 1% at 8 points",
                "bfloat16: test: off by at most 2% at 8 points",
            ],
        ),
    ],
)
def test_interpolation_and_half_precision_are_told_for_each_split(evaluation: dict[str, Any], texts: list[str]) -> None:
    assert describe_accuracy(evaluation) == texts


def test_a_run_tells_how_exact_its_slices_are_with_the_progress_and_the_picture(run: Run) -> None:
    options = ("--method", "random1d", "--steps", "last", "--grid", "41", "--tolerance", "5%", "--dtype", "bfloat16")
    first, stored = run(*options), run(*options)
    for shown in (first.stdout, first.stderr, stored.stdout, stored.stderr):
        assert re.search(r"\d+ of 41 points evaluated, expected error at most [\d.e-]+\b", shown)
        assert re.search(r"bfloat16: off by at most [\d.]+% at \d+ points", shown)
    exact = run("--method", "random1d", "--steps", "last", "--grid", "3")
    assert "at most" not in exact.stdout + exact.stderr
