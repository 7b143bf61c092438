"""The numbers of an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.ticker import Formatter, Locator, MaxNLocator, NullFormatter, ScalarFormatter

if TYPE_CHECKING:
    from matplotlib.axis import Axis

# A range whose ends differ by less has more numbers at equal distances than of 1, 2 and 5 times a power of ten.
_LEAST_LOG_RATIO = 3.0
_FEWEST, _MOST = 3, 9
# Between these a number is shorter, or easier to read, without its power of ten.
_PLAIN = (1e-4, 1e6)


class WholeNumbers(ScalarFormatter):
    """All of each number at its tick, for vertical axes.

    Matplotlib's offset and factor (`+2.3`, `1e-30`) stand above such an axis, where other text of a figure is.
    """

    def __init__(self) -> None:
        super().__init__(useOffset=False)

    def __call__(self, x: float, pos: int | None = None) -> str:
        """See `ScalarFormatter`."""
        text = super().__call__(x, pos)
        # Without an offset what is left is a factor, as in `1e-30`.
        factor = super().get_offset().removeprefix("1")
        return f"{text}{factor}" if x and text else text

    def get_offset(self) -> str:
        """None: it is in the numbers."""
        return ""


def round_numbers(low: float, high: float, count: int) -> list[float]:
    """About `count` numbers in [low, high], above zero, for a logarithmic axis.

    1, 2 and 5 times powers of ten, or the powers alone, or some of them; where the ends are near each other, numbers at
    equal distances.
    """
    if high / low > _LEAST_LOG_RATIO:
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        # Read from text: a product of powers is off by a digit, and its text is long.
        found = [value for k in exponents for m in (1, 2, 5) if low <= (value := float(f"{m}e{k}")) <= high]
        if _FEWEST <= len(found) <= count + 1:
            return found
        powers = [k for k in exponents if low <= float(f"1e{k}") <= high]
        every = math.ceil(len(powers) / count)
        if len(found) >= _FEWEST and len(powers) >= 2:
            return [float(f"1e{k}") for k in powers if k % every == 0]
        if len(found) >= _FEWEST:
            return found
    ticks = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(f"{tick:.12g}") for tick in ticks if low <= tick <= high]


def number_texts(values: Sequence[float]) -> list[str]:
    """Round numbers: `0.02`, `300`, and all with a power of ten where one is very small or large."""
    if all(_PLAIN[0] <= value < _PLAIN[1] for value in values):
        return [f"{value:.12g}" for value in values]
    texts = []
    for value in values:
        mantissa, _, exponent = f"{value:.11e}".partition("e")
        factor = f"{float(mantissa):.12g}"
        front = "" if factor == "1" else rf"{factor}\times"
        power = rf"10^{{{int(exponent)}}}"
        texts.append(rf"$\mathdefault{{{front}{power}}}$")
    return texts


def set_log_numbers(axis: Axis) -> None:
    """Round numbers at the ticks of a logarithmic axis; matplotlib's own are `4×10⁻¹`, or a single one."""
    axis.set_major_locator(_RoundNumbers())
    axis.set_major_formatter(_Texts())
    axis.set_minor_formatter(NullFormatter())


class _Texts(Formatter):
    def __call__(self, x: float, pos: int | None = None) -> str:
        """See `Formatter`."""
        return number_texts([x])[0]

    def format_ticks(self, values: list[float]) -> list[str]:
        """See `Formatter`."""
        return number_texts(values)


class _RoundNumbers(Locator):
    """As many `round_numbers` as the axis has room for."""

    def __call__(self) -> list[float]:
        """See `Locator`."""
        assert self.axis is not None
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """See `Locator`."""
        assert self.axis is not None
        low, high = sorted((float(vmin), float(vmax)))
        return round_numbers(low, high, max(2, min(self.axis.get_tick_space(), _MOST))) if low > 0 else []
