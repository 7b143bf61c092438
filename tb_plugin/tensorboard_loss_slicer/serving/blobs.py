"""One slice's header, checked to be JSON of this version, and its arrays, as they are stored."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slicer_core.errors import FormatError
from slicer_core.slices import parse_header
from tensorboard_loss_slicer.serving.caps import MAX_ARRAY_BYTES
from tensorboard_loss_slicer.serving.request_error import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorboard_loss_slicer.serving.slice_log import SliceLog, StoredSlice

_CONTENT_ID = re.compile(r"[0-9a-f]{16,128}")


@dataclass(frozen=True, kw_only=True)
class StoredHeader:
    """`content` is JSON text in UTF-8 of which only the schema was checked, as stored; `fields` is the same, parsed."""

    fields: dict[str, Any]
    content: bytes
    content_id: str


@dataclass(frozen=True, kw_only=True)
class StoredArray:
    """Bytes that are read when they are asked for, since a client often has them already."""

    etag: str
    read: Callable[[], bytes]


def read_header(log: SliceLog, stored: StoredSlice) -> StoredHeader:
    """The header of a slice.

    Raises:
        RequestError: 404 where it is not there, 422 where it is not a header of this version.
    """
    blob = log.read_blob(stored, 0)
    try:
        fields = parse_header(blob)
    except FormatError as error:
        raise RequestError(422, f"step {stored.step} can't be read: {error}") from error
    content_id = fields.get("id")
    if not isinstance(content_id, str) or not _CONTENT_ID.fullmatch(content_id):
        content_id = hashlib.blake2b(blob, digest_size=16).hexdigest()
    return StoredHeader(fields=fields, content=blob, content_id=content_id)


def open_array(log: SliceLog, stored: StoredSlice, index: int) -> StoredArray:
    """Array `index`, 1 and up, of a slice.

    Raises:
        RequestError: 404 where there is no such array; 422, when it is read, where it is above the cap.
    """
    if not 1 <= index <= stored.num_arrays:
        raise RequestError(404, f"there is no array {index} at step {stored.step}: it has {stored.num_arrays}")
    content_id = read_header(log, stored).content_id
    return StoredArray(etag=blob_etag(content_id, index), read=lambda: read_array(log, stored, index))


def read_array(log: SliceLog, stored: StoredSlice, index: int) -> bytes:
    """The bytes of array `index`, as they are stored.

    Raises:
        RequestError: 404 where there is no such array, 422 where it is above the cap.
    """
    blob = log.read_blob(stored, index)
    if len(blob) > MAX_ARRAY_BYTES:
        raise RequestError(
            422, f"array {index} of step {stored.step} has {len(blob)} bytes, the cap is {MAX_ARRAY_BYTES}"
        )
    return blob


def blob_etag(content_id: str, index: int) -> str:
    """The ETag, without its quotes, of blob `index` of the slice with that content id."""
    return f"{content_id}-{index}"
