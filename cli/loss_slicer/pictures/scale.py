"""Where a value belongs between the bottom and the top of a picture: linear or logarithmic, outliers aside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_PERCENTILES = (2, 98)
_LOG_RATIO = 50.0
# An extreme that is this share of the robust range beyond it is no outlier: the picture has room for it.
_OUTLIER_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Scale:
    """From `low` (place 0) to `high` (place 1); `minimum` and `maximum` are of all finite values."""

    low: float
    high: float
    minimum: float
    maximum: float
    log: bool

    def places(self, values: np.ndarray) -> np.ndarray:
        """Places in [0, 1], of the shape of `values`: NaN where not finite, ½ everywhere if all values are alike."""
        finite = np.where(np.isfinite(values), values, np.nan)
        if self.log:
            return np.clip(share(np.log(finite), float(np.log(self.low)), float(np.log(self.high))), 0.0, 1.0)
        return np.clip(share(finite, self.low, self.high), 0.0, 1.0)

    @property
    def clips(self) -> tuple[float, ...]:
        """The ends of the scale that some value lies beyond."""
        return (self.low,) * (self.minimum < self.low) + (self.high,) * (self.maximum > self.high)


def scale_of(values: np.ndarray, *, robust: bool) -> Scale | None:
    """The scale for some values, None if none is finite.

    It is logarithmic where all are positive and the 98th percentile is above 50 times the 2nd. A `robust` scale ends
    at those percentiles on a side whose extreme lies far beyond.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size == 0:
        return None
    minimum, maximum = float(finite.min()), float(finite.max())
    # "nearest" takes members of the data, so that nothing overflows between two huge ones.
    low, high = (float(value) for value in np.percentile(finite, _PERCENTILES, method="nearest"))
    log = minimum > 0 and high / _LOG_RATIO > low
    if not robust or low == high:
        return Scale(low=minimum, high=maximum, minimum=minimum, maximum=maximum, log=log)
    ends = np.array([minimum, maximum])
    below, above = share(np.log(ends), np.log(low), np.log(high)) if log else share(ends, low, high)
    return Scale(
        low=minimum if below >= -_OUTLIER_SHARE else low,
        high=maximum if above <= 1.0 + _OUTLIER_SHARE else high,
        minimum=minimum,
        maximum=maximum,
        log=log,
    )


def share(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """`(values - low) / (high - low)` without overflow, ½ where `low` is `high`."""
    if not high > low:
        return np.where(np.isnan(values), np.nan, 0.5)
    # In this unit both ends lie in [-1, 1], where their difference can't overflow.
    unit = max(abs(low), abs(high))
    with np.errstate(over="ignore"):
        return (values / unit - low / unit) / (high / unit - low / unit)
