"""The numbers of an axis."""

from __future__ import annotations

from matplotlib.ticker import ScalarFormatter


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
