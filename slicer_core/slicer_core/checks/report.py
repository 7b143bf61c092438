"""What a check or a comparison found, as values that every format of report is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slicer_core.checks.quantities import Quantity

Outcome = Literal["passed", "failed", "absent"]
"""`absent`: the quantity is not there, or can't be compared."""
Change = Literal["same", "better", "worse", "changed"]
"""`changed`: beyond what counts as the same, of a quantity that is neither better nor worse when it is larger."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One quantity of one slice: what it is, what it had to be, and whether it was. `reason` is empty where it was.

    `baseline` and `change` are a comparison's.
    """

    quantity: str
    outcome: Outcome
    expected: str
    found: Quantity | None = None
    baseline: Quantity | None = None
    change: Change | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckedSlice:
    """A slice by the names of its log, and the rows about it. The names may be anyone's: every format escapes them."""

    run: str
    tag: str
    step: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of one check or comparison. `title` and `notes` may hold names of logs."""

    command: Literal["check", "compare"]
    title: str
    slices: tuple[CheckedSlice, ...]
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """`absent` where any quantity was, whatever else failed: the check is not the one that was asked for."""
        return "absent" if self.count("absent") else "failed" if self.count("failed") else "passed"

    def count(self, outcome: Outcome) -> int:
        """How many rows have the outcome."""
        return sum(row.outcome == outcome for checked in self.slices for row in checked.rows)

    @property
    def summary(self) -> str:
        """One sentence."""
        total = sum(len(checked.rows) for checked in self.slices)
        words = [f"{self.count('passed')} of {total} passed"]
        words += [f"{self.count('failed')} failed"] if self.count("failed") else []
        words += [f"{self.count('absent')} could not be checked"] if self.count("absent") else []
        return f"{', '.join(words)} ({len(self.slices)} slice{'s' if len(self.slices) != 1 else ''})"
