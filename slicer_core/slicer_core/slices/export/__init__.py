"""A slice as a file for other programs: one module a format, and the table of them. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicer_core.errors import UsageError
from slicer_core.slices.export.csv import encode_csv, neutralize_text
from slicer_core.slices.export.json import encode_json
from slicer_core.slices.export.npz import encode_npz

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicer_core.slices.slice import Slice


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """One kind of file: its name on the command line and in URLs, its suffix and MIME type, and what writes it."""

    name: str
    suffix: str
    mime_type: str
    encode: Callable[[Slice], bytes]


EXPORT_FORMATS: dict[str, ExportFormat] = {
    export.name: export
    for export in (
        ExportFormat(name="csv", suffix=".csv", mime_type="text/csv", encode=encode_csv),
        ExportFormat(name="npz", suffix=".npz", mime_type="application/octet-stream", encode=encode_npz),
        ExportFormat(name="json", suffix=".json", mime_type="application/json", encode=encode_json),
    )
}
"""Name -> format."""


def export_slice(data: Slice, name: str) -> bytes:
    """The content of a file of the format `name`.

    Raises:
        UsageError: there is no such format.
    """
    export = EXPORT_FORMATS.get(name)
    if export is None:
        raise UsageError(f"export format {name!r} is not one of {', '.join(EXPORT_FORMATS)}")
    return export.encode(data)


__all__ = [
    "EXPORT_FORMATS",
    "ExportFormat",
    "encode_csv",
    "encode_json",
    "encode_npz",
    "export_slice",
    "neutralize_text",
]
