"""The numbers of a slice by name: any of its header, its measures by their own names, and two of all its points."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slicer_core.slices import Measure, Slice

LOSS = "loss"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number with one standard error, None where it is exact or no error is known.

    `lower_bound`: the true one may be larger. `value` is NaN where it was not finite.
    """

    value: float
    error: float | None = None
    lower_bound: bool = False

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return "not finite"
        bound = "≥" if self.lower_bound else ""
        error = "" if self.error is None or not math.isfinite(self.error) else f"±{self.error:.1g}"
        return f"{bound}{self.value:.4g}{error}"


def find_quantity(data: Slice, name: str) -> Quantity | None:
    """The number of that name, None where the slice has none.

    A dotted path through the header (`center.loss.train`, `directions.0.norm`, `measures.barrier.error`), the name of a
    measure with or without one of its details (`barrier`, `barrier.at`), or one of DERIVED. A name of the header that
    holds dots itself is found too.
    """
    derived = DERIVED.get(ALIASES.get(name, name))
    if derived is not None:
        return derived(data)
    parts = ALIASES.get(name, name).split(".")
    for found in (_follow(_header(data), parts), _follow(data.measures, parts)):
        if isinstance(found, Measure):
            return of_measure(found)
        if isinstance(found, (int, float, np.integer, np.floating)) and not isinstance(found, bool):
            return Quantity(value=float(found))
    return None


def known_names(data: Slice) -> list[str]:
    """Names that a person would most likely mean."""
    losses = [f"center.loss.{split}" for split in data.center.loss] if data.center is not None else []
    return [*data.measures, *DERIVED, *losses]


def of_measure(measure: Measure) -> Quantity:
    """A measure's value and error. A sharpness is a lower bound, and so is a width that the range cuts."""
    cut = measure.details.get("cut")
    is_cut = isinstance(cut, Mapping) and "range" in cut.values()
    return Quantity(
        value=measure.value, error=measure.error, lower_bound=measure.details.get("bound") == "lower" or is_cut
    )


def center_loss(data: Slice, split: str) -> Quantity | None:
    """The loss at the center with the standard error of the slice's point there, where there is one."""
    if data.center is None or split not in data.center.loss:
        return None
    error = None
    places = [np.flatnonzero(axis.values == 0) for axis in data.axes]
    if data.geometry != "curves" and all(place.size for place in places):
        index = tuple(int(place[0]) for place in places)
        for array in data.arrays:
            if (array.name, array.split, array.role) == (LOSS, split, "stderr"):
                error = float(array.values[index])
    return Quantity(value=float(data.center.loss[split]), error=error)


def _loss_increase(data: Slice) -> Quantity | None:
    """max L - L₀ of the first split as `largest_increase`, but NaN where any point has no finite loss."""
    measured = data.measures.get("largest_increase")
    center = center_loss(data, data.arrays[0].split)
    if center is None:
        return None if measured is None else _whole(data, of_measure(measured))
    # Float64, since the difference of two float32 losses has fewer digits than either.
    highest = float(np.max(data.loss.astype(np.float64)))
    error = None if measured is None else measured.error
    return _whole(data, Quantity(value=highest - center.value, error=error))


def _whole(data: Slice, found: Quantity) -> Quantity:
    return found if np.isfinite(data.loss).all() else Quantity(value=math.nan)


def _nonfinite(data: Slice) -> Quantity:
    """How many losses are NaN or infinite: at the points on all splits, and at the center."""
    points = sum(
        int(np.count_nonzero(~np.isfinite(array.values)))
        for array in data.arrays
        if (array.name, array.role) == (LOSS, "value")
    )
    center = data.center.loss.values() if data.center is not None else ()
    return Quantity(value=float(points + sum(not math.isfinite(loss) for loss in center)))


DERIVED: dict[str, Callable[[Slice], Quantity | None]] = {"loss_increase": _loss_increase, "nonfinite": _nonfinite}
"""Numbers of all points that no header holds."""
ALIASES = {"sharpness.top_eigenvalue": "eigenvalue_1"}
"""Other words for a measure: what the field calls sharpness is often the Hessian's largest eigenvalue."""


def _header(data: Slice) -> dict[str, Any]:
    """The header's fields; numbers that are not finite stay so, where JSON would have null."""
    fields = data.to_dict()
    fields["measures"] = data.measures
    fields["axes"] = [axis | {"values": axis["values"].tolist()} for axis in fields["axes"]]
    fields["arrays"] = [
        {key: value for key, value in array.items() if key != "values"} | _extent(array["values"])
        for array in fields["arrays"]
    ]
    return fields


def _extent(values: np.ndarray) -> dict[str, float | None]:
    finite = values[np.isfinite(values)]
    return {
        "min": float(finite.min()) if finite.size else None,
        "max": float(finite.max()) if finite.size else None,
        "nonfinite": int(values.size - finite.size),
    }


def _follow(place: object, parts: list[str]) -> object:
    """What the path leads to, or None. Longer keys are tried after shorter ones, for names that hold dots."""
    if not parts:
        return place
    if isinstance(place, Measure):
        own = {"value": place.value, "error": place.error, "details": place.details}
        found = _follow(own, parts)
        return _follow(place.details, parts) if found is None else found
    if isinstance(place, Mapping):
        for count in range(1, len(parts) + 1):
            key = ".".join(parts[:count])
            if key in place:
                found = _follow(place[key], parts[count:])
                if found is not None:
                    return found
        return None
    if isinstance(place, (list, tuple)) and parts[0].isascii() and parts[0].isdigit() and len(parts[0]) < 10:
        index = int(parts[0])
        return _follow(place[index], parts[1:]) if index < len(place) else None
    return None
