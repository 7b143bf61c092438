from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicer_core.checkpoints import FORMATS, Checkpoint, select_steps
from slicer_core.errors import UsageError

STEPS = (0, 10, 20, 35, 40, 100)
CHECKPOINTS = [
    Checkpoint(
        path=Path(f"step-{step}.pt"), data=Path(f"step-{step}.pt"), step=step, step_unit="step", format=FORMATS[0]
    )
    for step in STEPS
]


def chosen(selection: str) -> list[int]:
    return [checkpoint.step for checkpoint in select_steps(CHECKPOINTS, selection)]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("all", list(STEPS)),
        ("first", [0]),
        ("last", [100]),
        ("last,first", [0, 100]),
        ("first, 35", [0, 35]),
        ("40,10", [10, 40]),
        ("every:2", [0, 20, 40]),
        ("every:100", [0]),
        ("10:40", [10, 20, 35]),
        (":20", [0, 10]),
        ("35:", [35, 40, 100]),
        (":", list(STEPS)),
        ("0:101:20", [0, 20, 40, 100]),
        ("15:50:20", [35]),
    ],
)
def test_the_grammar(selection, expected) -> None:
    assert chosen(selection) == expected


@pytest.mark.parametrize(
    "selection",
    ["", "none", "every:0", "every:", "every:-1", "0:10:0", "1:2:3:4", "-5", "1.5", "1 x", "10,,20", "5:9"],
)
def test_what_is_no_selection_or_leaves_nothing_is_refused(selection) -> None:
    with pytest.raises(UsageError, match="--steps"):
        chosen(selection)


def test_a_step_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"names 11, 99, which is not there; there are \[0, 10, "):
        chosen("10,99,11")


@given(st.text(alphabet="0123456789:,everyalfirst ", max_size=14))
def test_any_text_is_a_selection_of_what_is_there_or_a_usage_error(selection: str) -> None:
    try:
        found = chosen(selection)
    except UsageError:
        return
    assert found
    assert found == sorted(found)
    assert set(found) <= set(STEPS)
