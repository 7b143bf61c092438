"""What marks a summary as a slice: the plugin's name and the content stored once a tag. Light to import."""

# Protobuf makes these names when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import json
from typing import Any

from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_BLOB_SEQUENCE, SummaryMetadata

PLUGIN_NAME = "loss_slicer"
SCHEMA = 1


def create_summary_metadata(slice_type: str, geometry: str, description: str | None = None) -> SummaryMetadata:
    """Metadata of a tag; TensorBoard keeps only the one of the tag's first event."""
    content = json.dumps({"schema": SCHEMA, "slice_type": slice_type, "geometry": geometry}, separators=(",", ":"))
    return SummaryMetadata(
        summary_description=description or "",
        plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME, content=content.encode("utf-8")),
        data_class=DATA_CLASS_BLOB_SEQUENCE,
    )


def parse_plugin_content(content: bytes) -> dict[str, Any]:
    """`{"schema", "slice_type", "geometry"}` of a tag, or an empty dictionary where the bytes hold something else."""
    try:
        fields = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(fields, dict) or fields.get("schema") != SCHEMA:
        return {}
    return fields
