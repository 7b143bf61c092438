"""What timing decided, kept so that a later process decides alike: rounding depends on it in the last bits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, cast

from slicer_core.choices import Layout
from slicer_core.errors import StoreError


class Decisions:
    """Strategies by kind of slice and batch; cuts and layouts by the tensors that move. Each is decided once.

    A strategy is (name, samples a part has or None, processes). A cut is the names of the nodes that are run again at
    each point although they could be combined.
    """

    def __init__(self) -> None:
        self.strategies: dict[str, tuple[str, int | None, int]] = {}
        self.cuts: dict[str, tuple[str, ...]] = {}
        self.layouts: dict[str, Layout] = {}

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "strategies": {key: list(value) for key, value in self.strategies.items()},
            "cuts": {key: list(value) for key, value in self.cuts.items()},
            "layouts": dict(self.layouts),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decisions:
        """What `to_dict` gave.

        Raises:
            StoreError: it is not of that form.
        """
        found = cls()
        try:
            for key, (name, part_size, workers) in data["strategies"].items():
                found.strategies[key] = (str(name), part_size, int(workers))
            found.cuts |= {key: tuple(map(str, names)) for key, names in data["cuts"].items()}
            found.layouts |= {key: cast("Layout", str(layout)) for key, layout in data["layouts"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"what an earlier run decided can't be read: {error}") from error
        return found


def moved_key(names: Iterable[str], *numbers: int) -> str:
    """A short text for the tensors that move, and for numbers that matter beside them."""
    text = "\n".join([*sorted(names), *map(str, numbers)])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
