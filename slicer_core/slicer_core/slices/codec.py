"""Arrays to bytes and back: little-endian, optionally regrouped by significance and compressed.

Decoding treats its input as hostile: sizes are checked before anything is allocated or inflated.
"""

from __future__ import annotations

import math
import zlib
from typing import Literal, get_args

import numpy as np

from slicer_core.errors import FormatError

DtypeName = Literal["f4", "f8", "i8"]
Codec = Literal["raw", "zlib", "shuffle-zlib"]
DTYPES: tuple[str, ...] = get_args(DtypeName)
CODECS: tuple[str, ...] = get_args(Codec)

MAX_ARRAY_BYTES = 256 * 2**20
"""Decoded bytes of one array above which it is refused."""

MAX_DIMENSIONS = 2
"""Dimensions of one stored array: (n,) of a curve, (k, n) of curves, (n0, n1) of a grid."""

# Level 1 of zlib after the shuffle is smaller and five times quicker than level 6 without it.
_LEVEL = 1


def encode_array(values: np.ndarray, codec: Codec = "shuffle-zlib") -> bytes:
    """Bytes of `values` (any shape; dtype float32, float64 or int64), in C order.

    Raises:
        FormatError: the dtype or codec is not one of the format's.
    """
    dtype_name(values)
    raw = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    if codec == "raw":
        return raw.tobytes()
    if codec == "zlib":
        return zlib.compress(raw.tobytes(), _LEVEL)
    if codec == "shuffle-zlib":
        planes = np.frombuffer(raw.tobytes(), dtype=np.uint8).reshape(-1, raw.dtype.itemsize).T
        return zlib.compress(planes.tobytes(), _LEVEL)
    raise FormatError(f"codec {codec!r} is not one of {', '.join(CODECS)}")


def decode_array(
    data: bytes, *, dtype: str, shape: tuple[int, ...], codec: str, max_bytes: int = MAX_ARRAY_BYTES
) -> np.ndarray:
    """The array that `encode_array` made `data` from, read-only.

    Raises:
        FormatError: the bytes don't hold exactly `shape` values of `dtype`, or more than `max_bytes`.
    """
    if dtype not in DTYPES:
        raise FormatError(f"array dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if codec not in CODECS:
        raise FormatError(f"codec {codec!r} is not one of {', '.join(CODECS)}")
    if len(shape) > MAX_DIMENSIONS or any(not _is_size(size) for size in shape):
        raise FormatError(f"an array's shape is a list of at most {MAX_DIMENSIONS} sizes")
    # Each size by itself first: the product of hostile ones has too many digits to be worked with.
    if any(size > max_bytes for size in shape):
        raise FormatError(f"an array's shape has a size above the limit of {max_bytes} bytes")
    layout = np.dtype("<" + dtype)
    expected = math.prod(shape) * layout.itemsize
    if expected > max_bytes:
        raise FormatError(f"an array of {expected} bytes is above the limit of {max_bytes}")
    raw = data if codec == "raw" else _inflate(data, expected)
    if len(raw) != expected:
        raise FormatError(f"an array of shape {list(shape)} and dtype {dtype} needs {expected} bytes, found {len(raw)}")
    if codec == "shuffle-zlib":
        raw = np.frombuffer(raw, dtype=np.uint8).reshape(layout.itemsize, -1).T.tobytes()
    return np.frombuffer(raw, dtype=layout).reshape(shape)


def dtype_name(values: np.ndarray) -> DtypeName:
    """The format's name of the array's dtype.

    Raises:
        FormatError: the format has no such dtype.
    """
    names: dict[tuple[str, int], DtypeName] = {("f", 4): "f4", ("f", 8): "f8", ("i", 8): "i8"}
    name = names.get((values.dtype.kind, values.dtype.itemsize))
    if name is None:
        raise FormatError(f"an array of dtype {values.dtype} can't be stored: use float32, float64 or int64")
    return name


def _is_size(size: object) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and size >= 0


def _inflate(data: bytes, expected: int) -> bytes:
    """At most `expected` bytes are ever produced, whatever the stream claims."""
    stream = zlib.decompressobj()
    try:
        # One byte of room beyond, since a limit of 0 means no limit to zlib.
        raw = stream.decompress(data, expected + 1)
    except zlib.error as error:
        raise FormatError(f"the array's bytes are not a zlib stream: {error}") from error
    if len(raw) > expected or not stream.eof or stream.unused_data:
        raise FormatError(f"the array's zlib stream does not end after {expected} bytes")
    return raw
