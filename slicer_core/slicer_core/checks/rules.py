"""Rules such as `barrier <= 0.05`: a name, a comparison and a number. They are parsed, never evaluated."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from slicer_core.errors import UsageError

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_LONGEST = 500
# Names may hold spaces, as those of a user's metrics do; the comparison and the number can't be a part of them.
_FORM = re.compile(
    r"\s*(?P<name>[^<>=!\s](?:[^<>=!]*[^<>=!\s])?)\s*"
    r"(?P<operator><=|>=|==|!=|<|>)\s*"
    r"(?P<bound>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*"
)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a quantity has to be. `name` is as `find_quantity` takes it.

    Raises:
        UsageError: the operator is not one of OPERATORS, or the bound is not finite.
    """

    name: str
    operator: str
    bound: float

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise UsageError(f"{self.operator!r} is not one of {' '.join(OPERATORS)}")
        if not math.isfinite(self.bound):
            raise UsageError(f"{self.name} {self.operator} {self.bound}: the number has to be finite")

    def __str__(self) -> str:
        return f"{self.name} {self.expected}"

    @property
    def expected(self) -> str:
        """`<= 0.05`."""
        return f"{self.operator} {self.bound:g}"

    def holds(self, value: float) -> bool:
        """Whether the value is as it has to be. NaN never is, not even for `!=`."""
        return not math.isnan(value) and OPERATORS[self.operator](value, self.bound)


def parse_rule(text: str) -> Rule:
    """The rule of a text NAME OP NUMBER: OP is one of OPERATORS, NUMBER a finite decimal.

    Raises:
        UsageError: the text has another form.
    """
    found = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise UsageError(
            f"the rule {text[:100]!r} is not NAME OP NUMBER, as in 'barrier <= 0.05'; OP is one of "
            f"{' '.join(OPERATORS)}, NUMBER a decimal number"
        )
    return Rule(name=found["name"], operator=found["operator"], bound=float(found["bound"]))
