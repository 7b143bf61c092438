"""How far from the full grid's values a slice may be: an amount of loss, or a part of the center's. Torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass

from slicer_core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """`amount` is a loss, or with `relative` a part of the loss at the center (0.01 for 1%).

    Raises:
        UsageError: the amount is not a positive number.
    """

    amount: float
    relative: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise UsageError(f"a tolerance of {self.amount!r} is not a positive number: give a loss, or one as in 1%")

    @classmethod
    def parse(cls, text: str, *, option: str = "--tolerance") -> Tolerance:
        """`0.01` is a loss; `1%` is relative to the loss at the center of each slice.

        Raises:
            UsageError: not of this form, or not positive.
        """
        number = text.strip().removesuffix("%")
        try:
            amount = float(number)
        except ValueError:
            amount = math.nan
        if not (math.isfinite(amount) and amount > 0):
            raise UsageError(
                f"{option} {text!r} is not a positive number: give a loss, as in 0.01, or a part of the center's "
                "loss, as in 1%"
            )
        relative = text.strip().endswith("%")
        return cls(amount=amount / 100 if relative else amount, relative=relative)

    def absolute(self, center_loss: float) -> float:
        """The loss that it amounts to; zero where it is a part of a loss that is not finite."""
        if not self.relative:
            return self.amount
        return self.amount * abs(center_loss) if math.isfinite(center_loss) else 0.0

    def __str__(self) -> str:
        return f"{100 * self.amount:.12g}%" if self.relative else f"{self.amount!r}"
