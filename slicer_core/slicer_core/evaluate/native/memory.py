"""Memory that operations use one after another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Sizes = Sequence[Sequence[int]]
"""Of tensors that lie one after another."""


class Memory:
    """Buffers by name; what lies in them is an operation's only while it runs.

    What an operation `needs` is, by the name of a buffer, the sizes of what lies in it at first, and of what is
    written over that later.
    """

    def __init__(self) -> None:
        self._sizes: dict[tuple[str, torch.dtype], int] = {}
        self._flat: dict[tuple[str, torch.dtype], Tensor] = {}

    def reserve(self, needs: Mapping[str, Sequence[Sizes]], dtype: torch.dtype) -> None:
        """Sees to it, before the first `parts`, that there is enough."""
        self._sizes = self._with(needs, dtype)

    def bytes_with(self, needs: Mapping[str, Sequence[Sizes]], dtype: torch.dtype) -> int:
        """What all buffers would take, were these reserved too."""
        return sum(size * own.itemsize for (_, own), size in self._with(needs, dtype).items())

    def parts(self, name: str, dtype: torch.dtype, sizes: Sizes) -> list[Tensor]:
        """Tensors of these sizes one after another in the buffer of that name."""
        key = name, dtype
        if key not in self._flat:
            # What nobody has written is computed with too, and subnormal numbers take long.
            self._flat[key] = torch.zeros(self._sizes[key], dtype=dtype)
        found, start = [], 0
        for size in sizes:
            found.append(self._flat[key][start : start + math.prod(size)].view(*size))
            start += math.prod(size)
        return found

    def _with(self, needs: Mapping[str, Sequence[Sizes]], dtype: torch.dtype) -> dict[tuple[str, torch.dtype], int]:
        found = dict(self._sizes)
        for name, uses in needs.items():
            needed = max(sum(map(math.prod, sizes)) for sizes in uses)
            found[name, dtype] = max(needed, found.get((name, dtype), 0))
        return found
