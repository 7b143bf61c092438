"""NPZ: numpy's archive of arrays, with the header's JSON as an entry of its own."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

import numpy as np

from slicer_core.slices.export.fields import array_label, header_fields

if TYPE_CHECKING:
    from slicer_core.slices.slice import Slice

_MAX_ENTRY_LENGTH = 64


def encode_npz(data: Slice) -> bytes:
    """An archive that `np.load(…, allow_pickle=False)` reads.

    Entries: `header` (JSON text), `axis0`, `axis1`, and each array by name, split and role, such as `loss_train`,
    in the dtype of the slice. `loss_train[i, j]` belongs to `axis0[i]` and `axis1[j]`.
    """
    entries: dict[str, np.ndarray] = {"header": np.array(json.dumps(header_fields(data)))}
    for index, axis in enumerate(data.axes):
        entries[f"axis{index}"] = axis.values
    for array in data.arrays:
        entries[_entry_name(array_label(array), entries)] = array.values
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **entries)
    return file.getvalue()


def _entry_name(label: str, taken: dict[str, np.ndarray]) -> str:
    """Entries become file names where an archive is unpacked, so a label's odd characters are replaced."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", label).strip("_")[:_MAX_ENTRY_LENGTH] or "array"
    name, copies = plain, 1
    while name in taken or name == "file":
        copies += 1
        name = f"{plain}_{copies}"
    return name
