"""What a process of ours imports is kept from the collector of garbage; all else is collected."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from slicer_core.collector import collector_paused, lasting_imports


class Knot:
    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def _unfrozen() -> Iterator[None]:
    others = gc.get_freeze_count()
    gc.unfreeze()
    yield
    gc.unfreeze()
    if others:
        gc.freeze()


@pytest.mark.usefixtures("_unfrozen")
def test_what_comes_within_is_not_looked_through_and_what_comes_later_is() -> None:
    with lasting_imports():
        assert not gc.isenabled()
        stays = [Knot() for _ in range(100)]
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    assert frozen >= len(stays)
    later = weakref.ref(Knot())
    gc.collect()
    assert later() is None
    with lasting_imports():
        more = [Knot() for _ in range(100)]
    assert gc.get_freeze_count() <= frozen, more


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was_whatever_happens(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(ImportError), collector_paused():
            raise ImportError
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
