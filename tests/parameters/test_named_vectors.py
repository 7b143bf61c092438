from __future__ import annotations

import math

import pytest
import torch

from slicer_core.errors import UsageError
from slicer_core.parameters import cosine, difference, dot, norm, select_names

NAMES = ["stem.weight", "stem.bias", "head.weight", "head.bias"]


def test_a_missing_name_is_a_tensor_of_zeros() -> None:
    left = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3.0]])}
    right = {"b": torch.tensor([[4.0]]), "c": torch.tensor([5.0])}
    assert dot(left, right) == 12.0
    assert norm(left) == pytest.approx(math.sqrt(14))
    assert cosine(left, right) == pytest.approx(12 / math.sqrt(14 * 41))


def test_sums_are_taken_in_float64() -> None:
    many = {"a": torch.full((2**25 + 3,), 1.0)}
    assert norm(many) ** 2 == pytest.approx(2**25 + 3, rel=1e-15)
    assert dot(many, many) == 2**25 + 3
    assert norm({"a": torch.tensor([3e30, 4e30])}) == pytest.approx(5e30)


def test_the_cosine_of_a_zero_vector_is_not_a_number() -> None:
    assert math.isnan(cosine({"a": torch.zeros(3)}, {"a": torch.ones(3)}))


def test_a_difference_has_the_names_and_dtypes_of_the_start() -> None:
    found = difference({"a": torch.tensor([3.0]).double(), "b": torch.ones(1)}, {"a": torch.tensor([1.0])})
    assert list(found) == ["a"]
    assert found["a"].dtype == torch.float32
    assert found["a"].item() == 2.0


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), NAMES),
        (("*.weight",), (), ["stem.weight", "head.weight"]),
        (("head.*", "stem.bias"), (), ["stem.bias", "head.weight", "head.bias"]),
        ((), ("*bias",), ["stem.weight", "head.weight"]),
        (("head.*",), ("*.bias",), ["head.weight"]),
    ],
)
def test_globs_choose_names_in_the_models_order(include, exclude, expected) -> None:
    assert select_names(NAMES, include, exclude) == expected


def test_a_glob_that_matches_nothing_is_named_with_its_option() -> None:
    with pytest.raises(UsageError, match=r"--params 'heda.\*' matches no parameter"):
        select_names(NAMES, ["heda.*"])
    with pytest.raises(UsageError, match=r"--exclude 'x'"):
        select_names(NAMES, (), ["x"])


def test_nothing_left_is_refused() -> None:
    with pytest.raises(UsageError, match="leave no parameter"):
        select_names(NAMES, ["head.*"], ["*"])
