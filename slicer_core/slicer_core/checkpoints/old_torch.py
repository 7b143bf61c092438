"""Files of `torch.save` before torch 1.6: pickles in a row, then the bytes of each storage."""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Magic number, version, system, the object itself, and the keys of its storages.
_NUM_PICKLES = 5
# Before its bytes, each storage has their number.
_COUNT_BYTES = 8


def bytes_missing(path: Path, loaded: Any) -> int:
    """How many bytes the file lacks for the tensors in what was read of it without them; 0 where it has all.

    Also 0 where tensors share storages, which can't be told of tensors without values.
    """
    keys = []
    with path.open("rb") as file:
        for _ in range(_NUM_PICKLES):
            keys = [argument for _, argument, _ in pickletools.genops(file) if isinstance(argument, str)]
        place = file.tell()
    storages = _storages(loaded)
    needed = sum(_COUNT_BYTES + size for size in storages.values())
    return max(0, place + needed - path.stat().st_size) if len(storages) <= len(keys) else 0


def _storages(loaded: Any) -> dict[int, int]:
    """Identity -> bytes of the storages of all tensors in mappings, lists and tuples."""
    import torch

    found: dict[int, int] = {}
    seen: set[int] = set()
    nodes = [loaded]
    while nodes:
        node = nodes.pop()
        if isinstance(node, torch.Tensor):
            if node.layout is torch.strided:
                storage = node.untyped_storage()
                found[storage._cdata] = storage.nbytes()
        elif isinstance(node, (Mapping, list, tuple)) and id(node) not in seen:
            seen.add(id(node))
            nodes += node.values() if isinstance(node, Mapping) else node
    return found
