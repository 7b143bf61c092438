from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from loss_slicer.plain_text import printable


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("layer.0.weight", "layer.0.weight"),
        ("θ₀ 日本", "θ₀ 日本"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("a\u202eb\u2066c\u200bd", r"a\u202eb\u2066c\u200bd"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("a\u0301\u0302\u0303", "a\u0301\u0302\\u0303"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
        ("", ""),
    ],
)
def test_what_is_not_seen_is_escaped_and_the_rest_is_left(given_text: str, shown: str) -> None:
    assert printable(given_text) == shown


def test_a_long_name_keeps_both_ends() -> None:
    assert printable("transformer." + "block." * 50 + "weight[3,17]", 30) == "transformer.bl....weight[3,17]"


def test_a_name_that_just_fits_is_whole() -> None:
    assert printable("n" * 60) == "n" * 60
    assert printable("n" * 61) == "n" * 29 + "..." + "n" * 28


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(), max_size=200), limit=st.integers(0, 80))
def test_the_result_fits_and_holds_nothing_unseen(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert cell_len(shown) <= limit
    assert len(shown) <= limit
    assert shown.isprintable()


def test_a_huge_text_is_cut_before_it_is_looked_at() -> None:
    assert printable("\x1b" * 50_000_000, 20) == r"\x1b\x1b...\x1b\x1b"
