"""A slice as a file for other programs: one module a format, and the table of them.

Numpy only, but for formats that name an extra: their libraries are imported when they are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicer_core.errors import UsageError
from slicer_core.slices.export.csv import encode_csv, neutralize_text
from slicer_core.slices.export.fields import point_columns
from slicer_core.slices.export.json import encode_json
from slicer_core.slices.export.netcdf import encode_netcdf
from slicer_core.slices.export.npz import encode_npz
from slicer_core.slices.export.vtk import encode_vtk

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicer_core.slices.slice import Slice


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """One kind of file: its name on the command line and in URLs, its suffix and MIME type, and what writes it.

    `extra` is the part of the package that brings the library it needs; only formats without one are served by the
    plugin.
    """

    name: str
    suffix: str
    mime_type: str
    encode: Callable[[Slice], bytes]
    extra: str | None = None


EXPORT_FORMATS: dict[str, ExportFormat] = {
    export.name: export
    for export in (
        ExportFormat(name="csv", suffix=".csv", mime_type="text/csv", encode=encode_csv),
        ExportFormat(name="npz", suffix=".npz", mime_type="application/octet-stream", encode=encode_npz),
        ExportFormat(name="json", suffix=".json", mime_type="application/json", encode=encode_json),
        ExportFormat(
            name="netcdf", suffix=".nc", mime_type="application/x-netcdf", encode=encode_netcdf, extra="netcdf"
        ),
        ExportFormat(name="vtk", suffix=".vtr", mime_type="application/xml", encode=encode_vtk, extra="vtk"),
    )
}
"""Name -> format."""
SERVED_FORMATS: dict[str, ExportFormat] = {
    name: export for name, export in EXPORT_FORMATS.items() if export.extra is None
}
"""Those that need numpy only."""


def export_slice(data: Slice, name: str) -> bytes:
    """The content of a file of the format `name`.

    Raises:
        UsageError: there is no such format, or its library is not installed.
    """
    export = EXPORT_FORMATS.get(name)
    if export is None:
        raise UsageError(f"export format {name!r} is not one of {', '.join(EXPORT_FORMATS)}")
    return export.encode(data)


__all__ = [
    "EXPORT_FORMATS",
    "SERVED_FORMATS",
    "ExportFormat",
    "encode_csv",
    "encode_json",
    "encode_netcdf",
    "encode_npz",
    "encode_vtk",
    "export_slice",
    "neutralize_text",
    "point_columns",
]
