"""A slice as the summary that TensorBoard stores, and back. Pure; who writes and reads files is told elsewhere."""

# Protobuf makes these names when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

from slicer_core.errors import FormatError
from slicer_core.slices import encode_slice
from tensorboard_loss_slicer.metadata import create_summary_metadata

if TYPE_CHECKING:
    from slicer_core.slices import Slice

Event: TypeAlias = event_pb2.Event
SessionLog: TypeAlias = event_pb2.SessionLog
SourceMetadata: TypeAlias = event_pb2.SourceMetadata
Summary: TypeAlias = summary_pb2.Summary


def slice_summary(
    tag: str, data: Slice, description: str | None = None, *, blobs: list[bytes] | None = None
) -> Summary:
    """A summary of one value: the blobs of `encode_slice` (`blobs`, where they are at hand) as a rank-1 tensor.

    Raises:
        FormatError: the slice can't be stored.
    """
    stored = encode_slice(data) if blobs is None else blobs
    # The fast loader drops a tag whose tensor is not of rank 1.
    shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=len(stored))])
    return Summary(
        value=[
            Summary.Value(
                tag=tag,
                metadata=create_summary_metadata(data.slice_type, data.geometry, description),
                tensor=tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=stored),
            )
        ]
    )


def value_blobs(value: Summary.Value) -> list[bytes]:
    """The blobs of a summary's value: the header, then the arrays.

    Raises:
        FormatError: the value is not a tensor of strings.
    """
    if value.tensor.dtype != types_pb2.DT_STRING or not value.tensor.string_val:
        raise FormatError(f"the value of tag {value.tag!r} is not the strings of a slice")
    return list(value.tensor.string_val)
