"""How a notebook shows a slice: as the figure of its default view, or as a small table where matplotlib is missing."""

from __future__ import annotations

import html
import importlib
import importlib.util
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from slicer_core.slices.slice import Slice

# By name: figures are made from slices, and never the other way round, except that a notebook asks the slice.
_FIGURES = "slicer_core.figures"


def picture(data: Slice) -> bytes | None:
    """A PNG, None without matplotlib."""
    if not _has_matplotlib():
        return None
    figures = importlib.import_module(_FIGURES)
    return figures.save(figures.draw([figures.Labeled(label=data.slice_type, data=data)]), "png")


def table(data: Slice) -> str | None:
    """HTML with the slice's axes and losses, None where `picture` shows more."""
    if _has_matplotlib():
        return None
    rows = [("slice", data.slice_type), ("points", " × ".join(map(str, data.shape)))]
    rows += [(axis.label, f"{axis.values.min():.4g} to {axis.values.max():.4g}") for axis in data.axes]
    if data.status == "provisional":
        rows.append(("provisional", f"{100 * data.filled:.3g}% of the points"))
    if data.center is not None:
        rows += [(f"loss at the center ({split})", f"{loss:.6g}") for split, loss in data.center.loss.items()]
    for array in data.arrays:
        if array.role == "value":
            rows.append((f"{array.name} ({array.split})", _extent(array.values)))
    cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows)
    missing = "A figure needs matplotlib: <code>pip install 'tensorboard-loss-slicer[plot]'</code>"
    return f"<table>{cells}</table><p>{missing}</p>"


def _extent(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    extent = f"{finite.min():.6g} to {finite.max():.6g}" if finite.size else "no finite value"
    others = values.size - finite.size
    return f"{extent}; {others} not finite" if others and finite.size else extent


def _has_matplotlib() -> bool:
    try:
        return importlib.util.find_spec("matplotlib") is not None
    except ValueError:
        # A module that was put out of reach by hand has no spec.
        return False
