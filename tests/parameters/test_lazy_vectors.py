"""Vectors whose tensors are made when they are asked for: the values of those at hand, and no more made than needed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from slicer_core import parameters
from slicer_core.parameters import (
    LazyTensors,
    NamedTensors,
    added,
    difference,
    dot,
    merged,
    norm,
    products,
    row_blocks,
    rows_of,
    shapes_of,
    subset,
)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "BLOCK_BYTES", 40)


def lazy(tensors: dict[str, Tensor]) -> tuple[LazyTensors, list[tuple[str, int, int]]]:
    """The vector, and a list of what it is asked for."""
    asked: list[tuple[str, int, int]] = []

    def rows(name: str, start: int, stop: int) -> Tensor:
        asked.append((name, start, stop))
        return rows_of(tensors, name, start, stop).clone()

    return LazyTensors({name: tensor.to("meta") for name, tensor in tensors.items()}, rows), asked


def some() -> dict[str, Tensor]:
    return {"a": torch.randn(7, 4), "b": torch.randn(3), "c": torch.tensor(2.0), "d": torch.zeros(0, 5)}


def same(left: NamedTensors, right: NamedTensors) -> bool:
    return list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("shape", "blocks"),
    [
        ((7, 4), [(0, 2), (2, 4), (4, 6), (6, 7)]), ((5, 2), [(0, 5)]), ((2, 40), [(0, 1), (1, 2)]), ((), [(0, 1)]),
        ((0, 5), [(0, 0)]), ((25,), [(0, 10), (10, 20), (20, 25)]),
    ],
)  # fmt: skip
def test_blocks_are_rows_of_a_bounded_size_or_single_rows(shape, blocks) -> None:
    assert row_blocks(torch.zeros(shape)) == blocks


def test_a_lazy_vector_has_the_tensors_and_asks_for_them_by_blocks() -> None:
    tensors = some()
    vector, asked = lazy(tensors)
    assert same(vector, tensors)
    assert [rows for name, *rows in asked if name == "a"] == [[0, 2], [2, 4], [4, 6], [6, 7]]


def test_names_and_shapes_are_known_without_a_tensor_being_made() -> None:
    vector, asked = lazy(some())
    assert "a" in vector
    assert "x" not in vector
    assert len(vector) == 4
    assert shapes_of(vector)["a"].shape == (7, 4)
    assert list(subset(vector, ["c", "a"])) == ["c", "a"]
    assert asked == []


def test_norms_and_products_are_those_of_tensors_at_hand_bit_for_bit() -> None:
    tensors, others = some(), some()
    del others["b"]
    (left, _), (right, asked) = lazy(tensors), lazy(others)
    assert products([left, right]) == products([tensors, others])
    # Each block once, though three products need it.
    assert sorted(asked) == sorted(set(asked))
    assert (
        norm(left)
        == norm(tensors)
        == pytest.approx(math.sqrt(sum(float((tensor.double() ** 2).sum()) for tensor in tensors.values())), rel=1e-14)
    )
    assert (
        dot(left, right)
        == dot(tensors, others)
        == pytest.approx(
            sum(float((tensor.double() * tensors[name].double()).sum()) for name, tensor in others.items()), rel=1e-12
        )
    )


def test_sums_and_unions_of_lazy_vectors_are_lazy() -> None:
    tensors, others = some(), some()
    vector, asked = lazy(tensors)
    made = [difference(vector, others), difference(others, vector), added(vector, others), merged(others, vector)]
    assert all(isinstance(one, LazyTensors) for one in made)
    assert asked == []
    expected = [
        difference(tensors, others), difference(others, tensors), added(tensors, others), merged(others, tensors)
    ]  # fmt: skip
    assert all(same(ours, theirs) for ours, theirs in zip(made, expected, strict=True))
    assert not any(isinstance(one, LazyTensors) for one in expected)
    assert same(merged(vector, {"b": torch.ones(3)}), {**tensors, "b": torch.ones(3)})
