"""NPZ: numpy's archive of arrays, with the header's JSON as an entry of its own."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np

from slicer_core.slices.export.fields import array_label, header_fields, plain_name

if TYPE_CHECKING:
    from slicer_core.slices.slice import Slice


def encode_npz(data: Slice) -> bytes:
    """An archive that `np.load(…, allow_pickle=False)` reads.

    Entries: `header` (JSON text), `axis0`, `axis1`, and each array by name, split and role, such as `loss_train`,
    in the dtype of the slice. `loss_train[i, j]` belongs to `axis0[i]` and `axis1[j]`.
    """
    entries: dict[str, np.ndarray] = {"header": np.array(json.dumps(header_fields(data)))}
    for index, axis in enumerate(data.axes):
        entries[f"axis{index}"] = axis.values
    for array in data.arrays:
        entries[plain_name(array_label(array), entries)] = array.values
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **entries)
    return file.getvalue()
