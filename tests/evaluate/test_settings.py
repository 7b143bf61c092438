"""What `EvaluationSettings` takes, and what it says to what it does not."""

from __future__ import annotations

import dataclasses
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slicer_core import EvaluationSettings, Tolerance
from slicer_core.errors import UsageError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"


@pytest.mark.parametrize(
    ("name", "given", "held"),
    [
        ("batch_size", np.int64(7), 7),
        ("samples", 1, 1),
        ("dtype", "bfloat16", torch.bfloat16),
        ("dtype", "torch.float64", torch.float64),
        ("dtype", torch.float16, torch.float16),
        ("memory_budget", "4GiB", 4 * 2**30),
        ("memory_budget", 1, 1),
        ("weight_decay", 1, 1.0),
        ("tolerance", "1%", Tolerance(amount=0.01, relative=True)),
        ("tolerance", "0.01", Tolerance(amount=0.01)),
        ("tolerance", 0.01, Tolerance(amount=0.01)),
        ("tolerance", Tolerance(amount=2.0), Tolerance(amount=2.0)),
    ],
)
def test_a_value_may_be_given_in_the_words_of_the_command(name: str, given: Any, held: Any) -> None:
    settings = EvaluationSettings(**{name: given})
    value = getattr(settings, name)
    assert (value, type(value)) == (held, type(held))
    assert settings == dataclasses.replace(settings) == pickle.loads(pickle.dumps(settings))


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("batch_size", 0, "batch_size=0 is not a number of samples: give 1 or more"),
        ("samples", -1, "samples=-1 is not a number of samples: give 1 or more, or None for all"),
        ("samples", 2.5, "samples=2.5 is not a number of samples"),
        ("samples", True, "samples=True is not a number of samples"),
        ("dtype", torch.int32, "dtype=torch.int32 is not one of float32, float64, bfloat16, float16"),
        ("dtype", "half", "dtype='half' is not one of float32"),
        ("dtype", [], "dtype=[] is not one of float32"),
        ("strategy", "fast", "strategy='fast' is not one of auto, partial"),
        ("repeats", 0, "repeats=0 is not a number of evaluations: give 1 or more"),
        ("memory_budget", 0, 'memory_budget=0 is not a size: give bytes, or a text as in "4GiB"'),
        ("memory_budget", "lots", "memory_budget 'lots' is not a size"),
        ("workers", 0, "workers=0 is not a number of processes: give 1 or more"),
        ("workers", None, "workers=None is not a number of processes"),
        ("compile", True, "compile=True is not one of auto, on, off"),
        ("weight_decay", "0.1", "weight_decay='0.1' is not a finite number from 0 up"),
        ("tolerance", 0, "a tolerance of 0.0 is not a positive number"),
        ("tolerance", "one", "tolerance 'one' is not a positive number"),
        ("tolerance", (1,), 'tolerance=(1,) is not a loss as in 0.01, or a part of the center\'s as in "1%"'),
    ],
)
def test_a_value_that_can_not_be_is_told_with_what_can(name: str, given: Any, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        EvaluationSettings(**{name: given})


def test_the_page_has_a_row_for_each_field() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## In Python")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [
        field.name for field in dataclasses.fields(EvaluationSettings)
    ]
