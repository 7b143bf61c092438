"""An animation over steps: the same view of each, on one scale, as a GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from slicer_core.errors import UsageError
from slicer_core.figures.style import FigureStyle, Labeled, Quantity, color_limits, is_log
from slicer_core.figures.views import draw, save

_MILLISECONDS = 700
_LAST_MILLISECONDS = 2000


def animate(
    entries: Sequence[Labeled],
    *,
    view: str | None = None,
    quantity: Quantity | None = None,
    style: FigureStyle | None = None,
) -> bytes:
    """The content of a GIF file with a picture for each slice; colors and heights mean the same in all of them.

    Raises:
        UsageError: see `draw`; or no slice has a finite value.
    """
    # Pillow comes with matplotlib; `draw` tells where that is missing.
    chosen, settings = quantity or Quantity(), style or FigureStyle()
    everything = np.concatenate([_values(entry, chosen).ravel() for entry in entries])
    if not np.isfinite(everything).any():
        raise UsageError("no slice has a finite value, so there is nothing to animate")
    log = is_log(settings, everything)
    shared = replace(
        settings,
        scale="log" if log else "linear",
        limits=color_limits(everything, name=chosen.name, log=log),
    )
    pictures = [save(draw([entry], view=view, quantity=chosen, style=shared), "png", shared) for entry in entries]
    return _gif(pictures)


def _values(entry: Labeled, quantity: Quantity) -> np.ndarray:
    values = quantity.values(entry.data)
    assert values is not None
    return values


def _gif(pictures: Sequence[bytes]) -> bytes:
    from PIL import Image

    frames = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    stream = io.BytesIO()
    durations = [_MILLISECONDS] * (len(frames) - 1) + [_LAST_MILLISECONDS]
    frames[0].save(
        stream, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, disposal=1
    )
    return stream.getvalue()
