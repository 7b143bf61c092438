from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slicer_core.directions import RECIPE, random_direction
from slicer_core.philox import philox4x32, random_order, standard_normal

FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "directions_v1.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(counter, key, expected) -> None:
    words = [int(word, 16) for word in counter.split()]
    first, second = (int(word, 16) for word in key.split())
    found = philox4x32(np.array(words, dtype=np.uint64).reshape(4, 1), (first, second))
    assert " ".join(f"{int(word):08x}" for word in found[:, 0]) == expected


def test_philox_is_the_papers_on_whole_arrays(plain_philox) -> None:
    counters = np.random.default_rng(0).integers(0, 2**32, size=(4, 50), dtype=np.uint64)
    found = philox4x32(counters, (7, 2**32 - 1))
    for column in range(counters.shape[1]):
        assert found[:, column].tolist() == plain_philox([int(word) for word in counters[:, column]], (7, 2**32 - 1))


@pytest.mark.parametrize("case", FIXTURE["cases"], ids=lambda case: f"{case['name']}-{case['seed']}-{case['axis']}")
def test_directions_are_those_of_the_first_release(case) -> None:
    like = {case["name"]: torch.zeros(case["shape"], dtype=torch.float64)}
    (found,) = random_direction(like, seed=case["seed"], axis=case["axis"]).values()
    assert found.dtype == torch.float32
    assert list(found.shape) == case["shape"]
    assert found.reshape(-1).tolist() == case["values"]
    assert FIXTURE["recipe"] == RECIPE


def test_an_element_beyond_32_bits_of_index_is_that_of_the_first_release() -> None:
    far = FIXTURE["far"]
    found = standard_normal(far["stream"], far["start"], len(far["values"]))
    assert found.astype(np.float32).tolist() == far["values"]


@settings(deadline=None)
@given(
    start=st.one_of(st.integers(0, 300), st.integers(16384 * 4 - 20, 16384 * 4 + 20)),
    count=st.integers(0, 70),
)
def test_any_block_can_be_made_alone(start: int, count: int) -> None:
    whole = standard_normal("0/0/weight", 0, start + count)
    np.testing.assert_array_equal(standard_normal("0/0/weight", start, count), whole[start:])


def test_the_numbers_are_standard_normal() -> None:
    sample = standard_normal("0/0/weight", 0, 200_000)
    # Four standard errors of each moment.
    assert abs(sample.mean()) < 4 / 200_000**0.5
    assert abs(sample.var() - 1) < 4 * (2 / 200_000) ** 0.5
    assert abs((sample**4).mean() - 3) < 4 * (96 / 200_000) ** 0.5
    assert abs(np.corrcoef(sample[:-1], sample[1:])[0, 1]) < 4 / 200_000**0.5


def test_directions_differ_by_name_seed_and_axis_only() -> None:
    def direction(name: str = "a", seed: int = 0, axis: int = 0, fill: float = 0.0) -> list[float]:
        return random_direction({name: torch.full((8,), fill)}, seed=seed, axis=axis)[name].tolist()

    assert direction(fill=3.0) == direction()
    assert len({tuple(direction(name, seed, axis)) for name in "ab" for seed in (0, 1) for axis in (0, 1)}) == 8


@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_an_order_is_that_of_64_bits_for_each_number(count: int, plain_philox) -> None:
    digest = hashlib.sha256(b"some stream").digest()
    words = [int.from_bytes(digest[start : start + 4], "little") for start in (0, 4, 8, 12)]
    numbers = []
    for block in range(-(-count // 2)):
        bits = plain_philox([block, 0, words[2], words[3]], words[:2])
        numbers += [bits[0] << 32 | bits[1], bits[2] << 32 | bits[3]]
    found = random_order("some stream", count)
    assert found.dtype == np.int64
    assert found.tolist() == sorted(range(count), key=lambda index: numbers[index])
