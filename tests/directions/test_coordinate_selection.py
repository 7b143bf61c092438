from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slicer_core.directions import coordinate_direction, coordinates_at, parse_selection
from slicer_core.errors import UsageError

PARAMETERS = {
    "layer.weight": torch.tensor([[1.0, -9.0, 2.0], [0.5, 3.0, -4.0]]),
    "empty": torch.zeros(0, 2),
    "scale": torch.tensor(7.0),
    "layer.bias": torch.tensor([8.0, -0.1]),
}
VALUES = [1.0, -9.0, 2.0, 0.5, 3.0, -4.0, 7.0, 8.0, -0.1]


def flats(selection: str, **options) -> list[int]:
    return [coordinate.flat for coordinate in parse_selection(selection, PARAMETERS, **options)]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("0:3", [0, 1, 2]),
        (":", list(range(9))),
        ("7:", [7, 8]),
        ("0:9:4", [0, 4, 8]),
        ("6", [6]),
        (" 8, 0 ,6 ", [8, 0, 6]),
        ("layer.weight[1,2]", [5]),
        ("layer.weight[ 0 , 1 ]", [1]),
        ("layer.bias[1]", [8]),
        ("scale[]", [6]),
        ("largest:3", [1, 7, 6]),
    ],
)
def test_the_grammar(selection, expected) -> None:
    assert flats(selection) == expected


@pytest.mark.parametrize(
    "selection",
    [
        "",
        "0:10",
        "5:5",
        "4:2",
        "0:9:0",
        "9",
        "-1",
        "1.5",
        "all",
        "1,,2",
        "layer.weight[2,0]",
        "layer.weight[0]",
        "layer.weight[]",
        "layer.weight[0,]",
        "layer.weight[,]",
        "layer.weight[0 1]",
        "layer.weight[-1,0]",
        "layer.wieght[0,0]",
        "scale[0]",
        "largest:0",
        "largest:10",
        "largest:",
        "random:x",
        "random:²",
    ],
)
def test_what_is_outside_the_model_or_the_grammar_is_refused(selection) -> None:
    with pytest.raises(UsageError):
        parse_selection(selection, PARAMETERS)


def test_a_misspelled_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"nearest: layer.weight"):
        parse_selection("layer.wieght[0,0]", PARAMETERS)


@given(st.text(max_size=12))
def test_any_text_is_a_selection_or_a_usage_error(text: str) -> None:
    try:
        chosen = parse_selection(text, PARAMETERS)
    except UsageError:
        return
    assert all(0 <= coordinate.flat < 9 for coordinate in chosen)


def test_random_scalars_are_a_function_of_the_seed() -> None:
    assert flats("random:4", seed=1) == flats("random:4", seed=1)
    assert len({tuple(flats("random:4", seed=seed)) for seed in range(8)}) > 1
    assert len(set(flats("random:9"))) == 9


def test_each_number_is_the_scalar_that_it_counts_to() -> None:
    for coordinate in coordinates_at(PARAMETERS, range(9)):
        assert PARAMETERS[coordinate.name][coordinate.index].item() == pytest.approx(VALUES[coordinate.flat])
        direction = coordinate_direction(PARAMETERS, coordinate)
        assert list(direction) == [coordinate.name]
        assert direction[coordinate.name].sum() == 1
        assert direction[coordinate.name][coordinate.index] == 1


@pytest.mark.parametrize("index", [-1, 9, 1.5, True, "0"])
def test_a_number_that_is_no_index_of_the_model_is_refused(index) -> None:
    with pytest.raises(UsageError, match="index"):
        coordinates_at(PARAMETERS, [index])


def test_numbers_of_numpy_are_numbers() -> None:
    assert [coordinate.flat for coordinate in coordinates_at(PARAMETERS, list(np.array([8, 0])))] == [8, 0]


def test_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="no parameter is selected"):
        coordinates_at(PARAMETERS, [])
