"""Shards of a job: which tiles each of N processes that know nothing of one another evaluates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slicer_core.errors import UsageError

_PREFIX, _SUFFIX = "slices.shard-", ".sqlite"
# A shard's pieces of one split's points: enough that all shards have like work, whatever parts of a slice take longer.
_PIECES = 4


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Number `index` of `count`, from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`I/N`.

        Raises:
            UsageError: not of that form, or not 1 <= I <= N.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        index, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= index <= count:
            raise UsageError(f"--shard {text!r} is not I/N with 1 <= I <= N, as in 1/4, 2/4, 3/4 and 4/4")
        return cls(index=index, count=count)

    @property
    def file_name(self) -> str:
        """Of its store, beside that of the whole."""
        return f"{_PREFIX}{self.index}-of-{self.count}{_SUFFIX}"

    def ranges(self, num_points: int, turn: int) -> list[tuple[int, int]]:
        """Its part of the points in their order; `turn` numbers the checkpoints, so that shards take turns."""
        pieces = min(num_points, _PIECES * self.count)
        ends = [num_points * piece // pieces for piece in range(pieces + 1)]
        return [(ends[piece], ends[piece + 1]) for piece in range(pieces) if self.has_turn(piece + turn)]

    def has_turn(self, turn: int) -> bool:
        """Whether what is not cut in parts is its."""
        return turn % self.count == self.index - 1


def shard_files(run_dir: Path) -> Iterator[Path]:
    """The shards' stores of a run directory."""
    yield from sorted(run_dir.glob(f"{_PREFIX}*{_SUFFIX}"))
