"""Names that are shortened beside a picture and stay apart."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from loss_slicer.pictures.names import distinct_names


@pytest.mark.parametrize(
    ("names", "limit", "labels"),
    [
        # What fits, or is told apart by its ends, is as anywhere.
        (["conv1.weight", "conv2.weight"], 12, ["conv1.weight", "conv2.weight"]),
        (["a.long.name.of.weight", "b.long.name.of.weight"], 13, ["a.lon...eight", "b.lon...eight"]),
        (
            ["enc.layers.0.attention.weight", "enc.layers.1.attention.weight", "head"],
            18,
            ["enc...0...weight", "enc...1...weight", "head"],
        ),
        (["long" * 9 + "a" + "name" * 9, "long" * 9 + "b" + "name" * 9], 11, ["lon...ame#1", "lon...ame#2"]),
        (["the.same.name.twice"] * 2, 9, ["the...ice"] * 2),
    ],
)
def test_a_short_name_keeps_what_tells_it_from_the_others(names: list[str], limit: int, labels: list[str]) -> None:
    assert distinct_names(names, limit, color=False) == labels


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    names=st.lists(
        st.lists(st.sampled_from(["enc", "0", "1", "self_attention", "weight", "日本語", "\x1b[2J"]), max_size=6)
    ),
    limit=st.integers(8, 30),
)
def test_short_names_stay_within_the_limit(names: list[list[str]], limit: int) -> None:
    whole = [".".join(parts) for parts in names]
    labels = distinct_names(whole, limit, color=True)
    assert all(cell_len(label) <= limit for label in labels)
    assert len(set(labels)) == len(set(whole))
