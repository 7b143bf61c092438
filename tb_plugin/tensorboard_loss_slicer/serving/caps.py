"""How much a request may ask for and a reply may hold: the log and the request may be anyone's work."""

from __future__ import annotations

from slicer_core.slices.codec import MAX_ARRAY_BYTES
from slicer_core.slices.header import MAX_HEADER_BYTES

MAX_QUERY_CHARACTERS = 8192
"""Of the query of a batch by GET."""

MAX_BODY_BYTES = 2**20
"""Of the query of a batch by POST."""

MAX_PARTS = 4096
"""Of one batch."""

MAX_BATCH_BYTES = 64 * 2**20
"""Of the body of a batch reply."""

MAX_ARRAYS = 1024
"""Of one slice."""

MAX_DESCRIPTION_CHARACTERS = 16_384
MAX_PLUGIN_CONTENT_BYTES = 65_536

MAX_EXPORT_BYTES = 256 * 2**20
"""Of the decoded arrays of one export together."""

MAX_TEXT_EXPORT_VALUES = 3_000_000
"""Of the arrays of one CSV or JSON export together: on its way to text, each takes some 200 bytes of memory."""

MAX_TAGS = 250_000
"""Of the reply of tags, over all runs: a page lists as many, and more fill its memory and the server's."""

MAX_LIST_BYTES = 64 * 2**20
"""Of the reply of tags or steps."""

__all__ = [
    "MAX_ARRAYS",
    "MAX_ARRAY_BYTES",
    "MAX_BATCH_BYTES",
    "MAX_BODY_BYTES",
    "MAX_DESCRIPTION_CHARACTERS",
    "MAX_EXPORT_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_LIST_BYTES",
    "MAX_PARTS",
    "MAX_PLUGIN_CONTENT_BYTES",
    "MAX_QUERY_CHARACTERS",
    "MAX_TAGS",
    "MAX_TEXT_EXPORT_VALUES",
]
