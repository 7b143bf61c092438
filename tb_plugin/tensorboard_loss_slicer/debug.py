"""What TENSORBOARD_LOSS_SLICER_DEBUG=1 turns on: detailed logs, and a check of each slice before it is logged."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import numpy as np

from slicer_core.errors import FormatError
from slicer_core.slices import decode_slice, slice_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicer_core.slices import Slice

VARIABLE = "TENSORBOARD_LOSS_SLICER_DEBUG"
_LOGGER = logging.getLogger("tensorboard_loss_slicer")


def enabled() -> bool:
    """Whether the variable is on now: scripts set it themselves, after the import."""
    return os.environ.get(VARIABLE, "").strip().lower() in {"1", "true", "yes", "on"}


def log(message: str, *values: object) -> None:
    """One line at level DEBUG, formatted as `logging` does; nothing where the variable is off."""
    if not enabled():
        return
    _LOGGER.setLevel(logging.DEBUG)
    if not _LOGGER.hasHandlers():
        # Without a handler, logging shows warnings only; a script that sets up its own keeps it.
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
        _LOGGER.addHandler(handler)
    _LOGGER.debug(message, *values, stacklevel=2)


def check_round_trip(data: Slice, blobs: Sequence[bytes]) -> None:
    """That `blobs`, read back, give the same slice bit by bit.

    Raises:
        FormatError: they don't.
    """
    again = decode_slice(blobs)
    for array, read in zip(data.arrays, again.arrays, strict=True):
        if not _same_bits(array.values, read.values):
            raise FormatError(f"array {array.name!r} ({array.split}, {array.role}) is read back with other values")
    if slice_id(again) != slice_id(data):
        raise FormatError(f"the header of the slice of type {data.slice_type!r} is read back with other values")


def _same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal as bytes, in whatever byte order each is: NaN equals itself, 0.0 differs from -0.0."""
    little = [np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")) for array in (one, other)]
    return little[0].dtype == little[1].dtype and little[0].tobytes() == little[1].tobytes()
