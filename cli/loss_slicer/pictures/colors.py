"""The viridis color map, and which of black and white reads on a color."""

from __future__ import annotations

import numpy as np

Rgb = tuple[int, int, int]

# Entries 0, 15, 30, … 255 of viridis by Nathaniel J. Smith, Stéfan van der Walt and Eric Firing, as published in
# github.com/BIDS/colormap (CC0). Between them a straight line is within 5 of the 255 levels of the whole table.
_ANCHORS = np.frombuffer(
    bytes.fromhex(
        "440154 481769 472a7a 433d84 3d4e8a 355e8d 2e6d8e 297b8e 23898e "
        "1f978b 21a585 2eb37c 46c06f 65cb5e 89d548 b0dd2f d8e219 fde725"
    ),
    dtype=np.uint8,
).reshape(-1, 3)
_PLACES = np.linspace(0.0, 1.0, len(_ANCHORS))


def viridis(place: float) -> Rgb:
    """The color at a place from 0 (dark) to 1 (bright)."""
    red, green, blue = (round(float(np.interp(place, _PLACES, _ANCHORS[:, channel]))) for channel in range(3))
    return red, green, blue


def contrasting(color: Rgb) -> str:
    """The name of the color, black or white, that reads on this one."""
    red, green, blue = color
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def hexadecimal(color: Rgb) -> str:
    """The color as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*color)
