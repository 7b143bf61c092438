"""A slice as a value, and the formats that outlive a release. Numpy only: TensorBoard's process imports this."""

from slicer_core.slices.codec import decode_array, encode_array
from slicer_core.slices.header import SCHEMA, decode_slice, encode_slice, parse_header, slice_id
from slicer_core.slices.plain import slice_from_plain
from slicer_core.slices.slice import Axis, Center, Curve, Direction, Marker, Measure, Slice, SliceArray
from slicer_core.slices.types import GEOMETRIES

__all__ = [
    "GEOMETRIES",
    "SCHEMA",
    "Axis",
    "Center",
    "Curve",
    "Direction",
    "Marker",
    "Measure",
    "Slice",
    "SliceArray",
    "decode_array",
    "decode_slice",
    "encode_array",
    "encode_slice",
    "parse_header",
    "slice_from_plain",
    "slice_id",
]
