"""A batch cut in two, for the check that its loss is a mean over its samples."""

from __future__ import annotations

from typing import Any

from slicer_core.subject.data import Batch, has_rows, tensors_of
from slicer_core.subject.nesting import map_leaves


def split_halves(data: Any, length: int) -> list[Batch]:
    """The two halves along the first dimension of what has `length` entries there, which are samples."""
    middle = length // 2

    def part(where: slice) -> Any:
        return map_leaves(lambda leaf: leaf[where] if has_rows(leaf, length) else leaf, data)

    return [
        Batch(data=part(slice(None, middle)), num_samples=middle),
        Batch(data=part(slice(middle, None)), num_samples=length - middle),
    ]


def other_halves(batch: Batch) -> list[Batch]:
    """The halves along the one length that all tensors without an entry a sample have; none where they have several."""
    lengths = {len(leaf) for leaf in tensors_of(batch.data) if leaf.ndim} - {batch.num_samples}
    if len(lengths) != 1 or max(lengths) < 2:
        return []
    return split_halves(batch.data, *lengths)
