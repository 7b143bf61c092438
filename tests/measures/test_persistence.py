"""Held against a slow count of connected components at every level."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from slicer_core.measures import measure
from slicer_core.measures.merge_tree import merge_tree

LEVELS = st.sampled_from([0.0, 1.0, 1.0, 2.0, 3.5, -1.0, np.nan, np.inf])


def components(members: set[int], shape: tuple[int, ...]) -> list[set[int]]:
    """By flooding."""
    left, found = set(members), []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            position = edge.pop()
            part.add(position)
            index = np.unravel_index(position, shape)
            for step in itertools.product((-1, 0, 1), repeat=len(shape)):
                other = tuple(int(entry) + move for entry, move in zip(index, step, strict=True))
                if all(0 <= entry < size for entry, size in zip(other, shape, strict=True)):
                    flat = int(np.ravel_multi_index(other, shape))
                    if flat in left:
                        left.remove(flat)
                        edge.append(flat)
        found.append(part)
    return found


def brute_force(values: np.ndarray) -> set[tuple[int, int]]:
    """(minimum, saddle) of all valleys with a depth: one point is added at a time, and all components counted anew."""
    levels = np.where(np.isfinite(values), values, np.inf).reshape(-1)
    order = sorted(range(levels.size), key=lambda position: (levels[position], position))
    place = {position: number for number, position in enumerate(order)}
    pairs = set()
    before: list[set[int]] = []
    for count, position in enumerate(order, start=1):
        now = components(set(order[:count]), values.shape)
        (joined,) = [part for part in now if position in part]
        minima = sorted((min(part, key=place.__getitem__) for part in before if part <= joined), key=place.__getitem__)
        pairs |= {(minimum, position) for minimum in minima[1:] if levels[minimum] < levels[position]}
        before = now
    return pairs


@settings(max_examples=40)
@given(values=arrays_of.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=LEVELS))
def test_pairs_of_a_grid_are_those_of_brute_force(values: np.ndarray) -> None:
    assert {(pair.minimum, pair.saddle) for pair in merge_tree(values).pairs} == brute_force(values)


@settings(max_examples=40)
@given(values=arrays_of.arrays(np.float64, st.integers(1, 12), elements=LEVELS))
def test_pairs_of_a_curve_are_those_of_brute_force(values: np.ndarray) -> None:
    assert {(pair.minimum, pair.saddle) for pair in merge_tree(values).pairs} == brute_force(values)


def test_random_surfaces_agree_with_brute_force() -> None:
    for seed in range(3):
        values = np.random.default_rng(seed).normal(size=(7, 9))
        tree = merge_tree(values)
        assert {(pair.minimum, pair.saddle) for pair in tree.pairs} == brute_force(values)
        assert tree.lowest == values.argmin()


def test_two_wells_meet_at_their_saddle(curve) -> None:
    found = measure(curve([-2, -1, 0, 1, 2], [3, 0, 2, 1, 3]))["persistence"]
    assert found.value == 1.0
    (pair,) = found.details["pairs"]
    assert (pair["minimum"], pair["saddle"], pair["minimum_loss"], pair["saddle_loss"]) == ([1.0], [0.0], 1.0, 2.0)
    assert found.details["lowest"] == {"at": [-1.0], "loss": 0.0}


def test_one_well_has_none_and_a_constant_neither(curve, grid) -> None:
    for data in (curve([-1, 0, 1], [1, 0, 1]), grid([0, 1, 2], [0, 1], np.ones((3, 2)))):
        found = measure(data)["persistence"]
        assert (found.value, found.details["number"], found.details["pairs"]) == (0.0, 0, [])
    assert measure(curve([0], [5]))["persistence"].value == 0.0


def test_corners_touch(grid) -> None:
    values = [[0, 9, 9], [9, 1, 9], [9, 9, 2]]
    assert measure(grid([0, 1, 2], [0, 1, 2], values))["persistence"].value == 0.0


def test_minima_on_the_edge_and_pairs_within_their_error_are_marked(curve) -> None:
    found = measure(curve([0, 1, 2, 3, 4, 5], [0, 3, 1, 1.5, 0.5, 2], errors=0.2))["persistence"]
    by_minimum = {tuple(pair["minimum"]): pair for pair in found.details["pairs"]}
    assert by_minimum[4.0,]["persistence"] == 2.5
    assert "within_error" not in by_minimum[4.0,]
    assert by_minimum[2.0,]["within_error"]
    assert by_minimum[2.0,]["error"] == pytest.approx(0.4)
    assert found.details["lowest"]["boundary"]
    assert (found.details["number"], found.details["significant"]) == (2, 1)
    assert found.error == pytest.approx(0.4)
    edge = measure(curve([0, 1, 2], [1, 3, 0]))["persistence"].details["pairs"][0]
    assert edge["boundary"]


def test_losses_that_are_not_finite_are_walls(curve) -> None:
    found = measure(curve([0, 1, 2], [1, np.nan, 0]))["persistence"]
    assert found.value == np.inf
    assert found.error is None
    assert "persistence" not in measure(curve([0, 1], [np.nan, np.inf]))
