"""How figures look, and what all views share: matplotlib itself, colors, scales and texts."""

from __future__ import annotations

import contextlib
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from slicer_core.errors import UsageError
from slicer_core.slices import Slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scale = Literal["auto", "linear", "log"]
COLOR_MAPS = ("viridis", "cividis", "magma", "inferno", "plasma", "gray")
"""Perceptually uniform ones: steps in a value look alike wherever they are."""

# Values from which the logarithm shows more than it hides, as on the page and in the terminal's pictures.
_LOG_RATIO = 50.0
# Below it a logarithm differs from a straight line by less than a hundredth of the axis.
_LEAST_LOG_RATIO = 1.01
_LONGEST_TEXT = 100
# Differences of numbers up to here, thousands of them in pixels, and room around them are numbers still.
_FARTHEST = 1e290
# Logarithms of what float64 holds with all of its digits.
_NEAREST = float(np.finfo(np.float64).tiny)
INK = "#1f2937"
FAINT = "#9ca3af"


@dataclass(frozen=True, kw_only=True)
class FigureStyle:
    """Sizes in inches and points. `levels`: about how many contour lines, or the values of them. `limits`: the values
    between which colors or heights go, where several figures share them.

    Raises:
        UsageError: a value is not one that can be drawn.
    """

    width: float = 5.0
    height: float | None = None
    font_size: float = 9.0
    color_map: str = "viridis"
    scale: Scale = "auto"
    levels: int | tuple[float, ...] = 12
    title: str | None = None
    limits: tuple[float, float] | None = None
    dots_per_inch: float = 200.0

    def __post_init__(self) -> None:
        if self.color_map not in COLOR_MAPS:
            raise UsageError(f"--colormap {self.color_map!r} is not one of {', '.join(COLOR_MAPS)}")
        if self.scale not in ("auto", "linear", "log"):
            raise UsageError(f"--scale {self.scale!r} is not one of auto, linear and log")
        for option, value, low, high in (
            ("--width", self.width, 1.0, 40.0),
            ("--height", self.height, 1.0, 40.0),
            ("--font-size", self.font_size, 4.0, 40.0),
            ("--dpi", self.dots_per_inch, 30.0, 1200.0),
        ):
            if value is not None and not low <= value <= high:
                raise UsageError(f"{option} {value:g} is not between {low:g} and {high:g}")
        if isinstance(self.levels, int) and not 0 <= self.levels <= 200:
            raise UsageError(f"--levels {self.levels} is not a number of contour lines from 0 to 200")
        if not isinstance(self.levels, int) and not all(np.isfinite(self.levels)):
            raise UsageError("--levels has a value that is not a finite number")


@dataclass(frozen=True, kw_only=True)
class Labeled:
    """A slice with the name under which a figure shows it."""

    label: str
    data: Slice


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Which of a slice's numbers is drawn. Without a split: that of the slice's first array."""

    name: str = "loss"
    split: str | None = None

    def values(self, data: Slice, role: Any = "value") -> np.ndarray | None:
        """The array in float64 as it is drawn, see `within_reach`; None where the slice has none of that role.

        Raises:
            UsageError: the slice has no such quantity.
        """
        try:
            return within_reach(data.array(self.name, self.split, role))
        except KeyError as error:
            if role == "value":
                raise UsageError(str(error.args[0])) from None
            return None

    def label(self, data: Slice) -> str:
        """`loss (train)`."""
        return f"{self.name.replace('_', ' ')} ({self.split or data.arrays[0].split})"

    def at_center(self, data: Slice) -> float | None:
        """The value at the center, None where it is not known."""
        if data.center is None:
            return None
        split = self.split or data.arrays[0].split
        values = data.center.loss if self.name == "loss" else data.center.metrics.get(self.name, {})
        return values.get(split)


def within_reach(values: np.ndarray) -> np.ndarray:
    """In float64, finite ones cut off where differences of float64's largest numbers would overflow."""
    reached = values.astype(np.float64)
    return np.where(np.isfinite(reached), reached.clip(-_FARTHEST, _FARTHEST), reached)


def new_figure(style: FigureStyle, height: float) -> Figure:
    """An empty figure of the style's width and, where that is not given, of `height` inches.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "figures need matplotlib, which is not installed: pip install 'tensorboard-loss-slicer[plot]'"
        ) from error
    return Figure(figsize=(style.width, style.height or height), dpi=style.dots_per_inch, layout="constrained")


def rc_parameters(style: FigureStyle) -> Any:
    """Matplotlib's settings while a figure is made and saved."""
    return {
        "font.size": style.font_size,
        "axes.titlesize": style.font_size * 1.1,
        "axes.labelsize": style.font_size,
        "legend.fontsize": style.font_size * 0.9,
        "xtick.labelsize": style.font_size * 0.9,
        "ytick.labelsize": style.font_size * 0.9,
        "axes.edgecolor": INK,
        "axes.linewidth": 0.6,
        "xtick.color": INK,
        "ytick.color": INK,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "hatch.linewidth": 0.5,
        "hatch.color": FAINT,
        "axes.unicode_minus": True,
        # The same figure gives the same file.
        "svg.hashsalt": "loss-slicer",
    }


@contextlib.contextmanager
def missing_glyphs_allowed() -> Iterator[None]:
    """A name in a script that the font lacks is drawn as boxes, which says it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def is_log(style: FigureStyle, values: np.ndarray) -> bool:
    """Whether the values are shown on a logarithmic scale; nearly equal ones are not, where it looks the same.

    Raises:
        UsageError: it is asked for, and a value is not positive.
    """
    finite = values[np.isfinite(values)]
    if style.scale == "linear" or finite.size == 0:
        return False
    if style.scale == "log":
        if not finite.min() >= _NEAREST:
            raise UsageError(
                f"--scale log: the smallest value is {finite.min():g}, and a logarithm needs positive ones"
            )
        # Of a part so small the logarithm is a straight line, and all of its ticks would have the same digits.
        low, high = style.limits or (finite.min(), finite.max())
        return bool(high > _LEAST_LOG_RATIO * low)
    low, high = np.percentile(finite, (2, 98))
    return bool(finite.min() >= _NEAREST and high > _LOG_RATIO * low)


def color_limits(values: np.ndarray, *, name: str, log: bool) -> tuple[float, float]:
    """Between which values colors change: all finite ones, but for a loss that explodes at the edge.

    Where three quarters of a loss lie in the lowest tenth of a range that is larger than they are, their reach is shown
    four times over.
    """
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if name == "loss" and not log:
        most = float(np.quantile(finite, 0.75))
        bulk = most - low
        if bulk > 0 and high - low > max(10 * bulk, abs(most)):
            high = float(finite[finite <= low + 4 * bulk].max())
    return low, high


def with_room(limits: tuple[float, float], *, log: bool) -> tuple[float, float]:
    """Limits of an axis, a twentieth beyond both ends of the values."""
    low, high = limits
    if log:
        # The ratio of a large number and a small one is none.
        room = high**0.05 / low**0.05
        return max(low / room, _NEAREST), high * room
    room = (high - low) / 20 or max(1.0, abs(high) / 20)
    return low - room, high + room


def contour_levels(style: FigureStyle, limits: tuple[float, float], *, log: bool) -> np.ndarray:
    """The values at which contour lines are drawn, ascending: in equal ratios, or round numbers about as many."""
    low, high = limits
    if not isinstance(style.levels, int):
        return np.unique(np.asarray(style.levels, dtype=np.float64))
    if not (high > low and style.levels):
        return np.array([])
    if log:
        return np.geomspace(low, high, style.levels + 2)[1:-1]
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(nbins=style.levels + 1, steps=[1, 2, 2.5, 5, 10])
    round_numbers = np.asarray(locator.tick_values(low, high))
    return round_numbers[(round_numbers > low) & (round_numbers < high)]


def plain(text: str, limit: int = _LONGEST_TEXT) -> str:
    """`text` on one line without characters that are not seen, its middle left out where it is long.

    `limit` counts letters; those of East Asian scripts are twice as wide.
    """
    seen = "".join(
        character if character.isprintable() and unicodedata.category(character) != "Cf" else "�"
        for character in text[: 10 * limit]
    )
    if _width(seen) <= limit:
        return seen
    half = limit // 2
    while _width(seen[:half]) + _width(seen[-half:]) >= limit and half > 1:
        half -= 1
    return f"{seen[:half]}…{seen[-half:]}"


def title_text(style: FigureStyle, entry: Labeled) -> str:
    """The title as far as it fits the figure's width: a letter is about 0.6 of the font's size wide."""
    return plain(style.title or entry.label, max(12, int(style.width * 72 / (style.font_size * 0.75))))


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def set_title(axes: Axes, style: FigureStyle, entry: Labeled, quantity: Quantity) -> None:
    """The title, and a line below it with what the reader has to know of the numbers."""
    # Dollar signs in a name are no mathematics.
    axes.set_title(f"{title_text(style, entry)}\n", loc="left", parse_math=False)
    axes.text(
        0, 1.02, describe(entry.data, quantity), transform=axes.transAxes, fontsize=style.font_size * 0.8, color=INK
    )


def describe(data: Slice, quantity: Quantity) -> str:
    """`center 0.0012 · 1,438 samples`, and what makes the numbers less than complete."""
    parts = []
    center = quantity.at_center(data)
    if center is not None:
        parts.append(f"center {center:.4g}" if not np.isnan(center) else "center NaN")
    samples = data.evaluation.get("samples")
    if isinstance(samples, dict):
        samples = samples.get(quantity.split or data.arrays[0].split)
    if isinstance(samples, int):
        parts.append(f"{samples:,} samples")
    if data.status == "provisional":
        parts.append(f"provisional, {data.filled:.0%} filled")
    interpolated = quantity.values(data, "interpolated")
    if interpolated is not None and interpolated.any():
        parts.append(f"{np.mean(interpolated > 0):.0%} interpolated")
    values = data.array(quantity.name, quantity.split).astype(np.float64)
    finite = np.isfinite(values)
    beyond = np.count_nonzero(finite & (np.abs(values) > _FARTHEST))
    if beyond:
        parts.append(f"{beyond:,} cut off at ±{_FARTHEST:g}".replace("e+", "e"))
    if not finite.all():
        parts.append(f"{np.count_nonzero(~finite):,} not finite")
    return " · ".join(parts)
