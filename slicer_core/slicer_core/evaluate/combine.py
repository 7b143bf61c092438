"""The frontier at a point, c₀ + Σ αⱼ cⱼ, written into buffers that are made once.

Everything that moves affinely lies in one flat buffer for each dtype, so that a point is one addition, and the part in
all coefficients but the last is shared along a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx

from slicer_core.choices import Layout
from slicer_core.evaluate.prologue import Components


class Combiner:
    """One point at a time; `views` are the parts of the flat buffers, each in the shape of its node.

    `dtypes` names nodes whose values are cast to another precision than that of their components.
    """

    def __init__(
        self,
        components: Mapping[fx.Node, Components],
        num_directions: int,
        *,
        layout: Layout = "rows",
        dtypes: Mapping[fx.Node, torch.dtype] | None = None,
    ) -> None:
        self.views: dict[fx.Node, Tensor] = {}
        self._flat: list[list[Tensor]] = []
        self._row: list[Tensor] = []
        self._point: list[Tensor] = []
        self._cast: list[tuple[Tensor, Tensor]] = []
        self._row_coefficients: tuple[float, ...] | None = None
        by_dtype: dict[tuple[torch.dtype, torch.dtype], list[fx.Node]] = {}
        for node, parts in components.items():
            own: torch.dtype = parts[0].dtype
            by_dtype.setdefault((own, own if dtypes is None else dtypes.get(node, own)), []).append(node)
        for (combined, wanted), nodes in by_dtype.items():
            orders = {node: _memory_order(node, components[node][0], layout) for node in nodes}
            flat = [
                torch.cat([components[node][index].permute(orders[node]).reshape(-1) for node in nodes])
                for index in range(num_directions + 1)
            ]
            point = torch.empty_like(flat[0])
            buffer = point if wanted == combined else torch.empty_like(point, dtype=wanted)
            if buffer is not point:
                self._cast.append((buffer, point))
            offset = 0
            for node in nodes:
                like = components[node][0]
                ordered = [like.shape[axis] for axis in orders[node]]
                back = sorted(range(like.ndim), key=orders[node].__getitem__)
                self.views[node] = buffer[offset : offset + like.numel()].view(ordered).permute(back)
                offset += like.numel()
            self._flat.append(flat)
            self._row.append(torch.empty_like(flat[0]) if num_directions > 1 else flat[0])
            self._point.append(point)

    def move_to(self, coefficients: Sequence[float]) -> None:
        """Writes the point's values into `views`."""
        *shared, last = coefficients
        if tuple(shared) != self._row_coefficients:
            self._row_coefficients = tuple(shared)
            for row, flat in zip(self._row, self._flat, strict=True):
                for index, coefficient in enumerate(shared):
                    torch.add(flat[0] if index == 0 else row, flat[index + 1], alpha=coefficient, out=row)
        for row, flat, point in zip(self._row, self._flat, self._point, strict=True):
            torch.add(row, flat[-1], alpha=last, out=point)
        for buffer, point in self._cast:
            buffer.copy_(point)


class ChunkCombiner:
    """Many points at a time: a matrix product of coefficients and components for each node."""

    def __init__(self, components: Mapping[fx.Node, Components]) -> None:
        self._nodes = {
            node: (parts[0].reshape(-1), torch.stack([part.reshape(-1) for part in parts[1:]]), parts[0].shape)
            for node, parts in components.items()
        }

    def at(self, coefficients: Tensor) -> dict[fx.Node, Tensor]:
        """Node -> its values, of shape (points, *its own); `coefficients` has shape (points, directions)."""
        return {
            node: torch.addmm(base, coefficients.to(base.dtype), moving).view(len(coefficients), *shape)
            for node, (base, moving, shape) in self._nodes.items()
        }


def _memory_order(node: fx.Node, tensor: Tensor, layout: Layout) -> list[int]:
    """The axes from the slowest to the fastest in memory, so that a view of a flat buffer has the tensor's layout.

    With `columns`, a matrix that is computed (not a parameter) has the samples of each feature side by side.
    """
    if layout == "columns" and tensor.ndim == 2 and node.op != "placeholder":
        return [1, 0]
    return sorted(range(tensor.ndim), key=lambda axis: (-tensor.stride(axis), axis))
