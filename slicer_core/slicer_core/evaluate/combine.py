"""The frontier at a point, c₀ + Σ αⱼ cⱼ, written into buffers that are made once.

Everything that moves affinely lies in one flat buffer for each dtype, so that a point is one addition, and the part in
all coefficients but the last is shared along a row. Large tensors are left where they are: a call for each costs
nothing beside its memory traffic, and a second copy of them may not fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx

from slicer_core.choices import Layout
from slicer_core.evaluate.matrix_layout import is_wanted_whole
from slicer_core.evaluate.prologue import Components

# From here on the calls that joining spares are worth less than the memory that it takes.
_LARGE_BYTES = 16 * 2**20
# The tensors of a flat buffer begin at multiples of so many elements: 64 bytes of the smallest, as torch's own memory.
# Libraries choose instructions by alignment, with which sums are taken in another order.
_ALIGNED = 32
# A sum whose place is of another dtype is one kernel there; on a CPU it is a copy in fresh memory.
_ROUND_AS_THEY_WRITE = ("cuda",)


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
        self._groups: list[tuple[_Group, list[tuple[fx.Node, list[int]]]]] = []
        self._ranges: dict[fx.Node, tuple[_Group, slice]] = {}
        self.last = 0.0
        self._count = num_directions + 1
        by_dtype: dict[tuple[torch.dtype, torch.dtype], list[fx.Node]] = {}
        large: list[tuple[torch.dtype, list[fx.Node]]] = []
        for node, parts in components.items():
            own: torch.dtype = parts[0].dtype
            wanted = own if dtypes is None else dtypes.get(node, own)
            if parts[0].nbytes >= _LARGE_BYTES:
                large.append((wanted, [node]))
            else:
                by_dtype.setdefault((own, wanted), []).append(node)
        for wanted, nodes in [*((wanted, nodes) for (_, wanted), nodes in by_dtype.items()), *large]:
            orders = [(node, _memory_order(node, components[node][0], layout)) for node in nodes]
            group = _Group(self._flat(components, orders), wanted)
            offset = 0
            for node, order in orders:
                like = components[node][0]
                ordered = [like.shape[axis] for axis in order]
                back = sorted(range(like.ndim), key=order.__getitem__)
                self.views[node] = group.values[offset : offset + like.numel()].view(ordered).permute(back)
                self._ranges[node] = group, slice(offset, offset + like.numel())
                offset += _room(like)
            self._groups.append((group, orders))
        self._row_coefficients: tuple[float, ...] | None = None

    def load(self, components: Mapping[fx.Node, Components]) -> None:
        """Other components of the same nodes, shapes and dtypes; `views` stay."""
        for group, orders in self._groups:
            group.load(self._flat(components, orders))
        self._row_coefficients = None

    def _flat(
        self, components: Mapping[fx.Node, Components], orders: Sequence[tuple[fx.Node, list[int]]]
    ) -> list[Tensor]:
        return [
            _joined([components[node][index].permute(order).reshape(-1) for node, order in orders])
            for index in range(self._count)
        ]

    def move_to(self, coefficients: Sequence[float]) -> None:
        """Writes the point's values into `views`."""
        *shared, last = coefficients
        self.last = last
        if is_new_row := tuple(shared) != self._row_coefficients:
            self._row_coefficients = tuple(shared)
        for group, _ in self._groups:
            group.move_to(shared, last, is_new_row=is_new_row)

    def addresses_of(self, node: fx.Node) -> tuple[int, int]:
        """Of what a point of the node is the sum of: the row's part, and the last direction's, times `last`.

        In the order in which the node's numbers lie in its view; elsewhere after a `load`.
        """
        group, own = self._ranges[node]
        first = own.start * group.row.itemsize
        return group.row.data_ptr() + first, group.moving.data_ptr() + first

    def leave_out(self, node: fx.Node) -> None:
        """From now on the node's view is not written: whoever reads it adds its parts up."""
        group, own = self._ranges[node]
        group.leave_out(own)

    def can_leave_out(self, node: fx.Node) -> bool:
        """Whether a sum of its parts is all that the node's values are."""
        return node in self._ranges and self._ranges[node][0].is_as_precise


class _Group:
    """Flat components, [c₀, c₁, …], and the buffer that c₀ + Σ αⱼ cⱼ is written into, in a dtype of its own.

    The sum is taken in the components' dtype, and rounded once.
    """

    def __init__(self, flat: list[Tensor], wanted: torch.dtype) -> None:
        like = flat[0]
        self.values = torch.empty_like(like, dtype=wanted)
        rounds = wanted != like.dtype
        # Where the last sum is taken.
        self._point = self.values
        if rounds and like.device.type not in _ROUND_AS_THEY_WRITE:
            self._point = torch.empty_like(like)
        # A row's part of large tensors is added up again at each point, in the point's own place if that is as precise.
        self._own_row = None
        if len(flat) > 2:
            is_apart = like.nbytes < _LARGE_BYTES or self._point.dtype != like.dtype
            self._own_row = torch.empty_like(like) if is_apart else self._point
        self._left_out: list[slice] = []
        self.load(flat)

    def load(self, flat: list[Tensor]) -> None:
        """Takes other components of the same sizes."""
        self._flat, self.moving = flat, flat[-1]
        self.row = flat[0] if self._own_row is None else self._own_row
        self._cut()

    @property
    def is_as_precise(self) -> bool:
        """Whether the sums are not rounded to another dtype."""
        return self.values is self._point

    def leave_out(self, part: slice) -> None:
        """The sum is no longer taken there."""
        self._left_out.append(part)
        self._cut()

    def _cut(self) -> None:
        """What is left of the sum."""
        left_out = sorted(self._left_out, key=lambda part: part.start)
        # Each begins where memory is as aligned as the whole.
        starts = [0, *(-(-part.stop // _ALIGNED) * _ALIGNED for part in left_out)]
        stops = [*(part.start for part in left_out), len(self.row)]
        parts = [slice(start, stop) for start, stop in zip(starts, stops, strict=True) if start < stop]
        self._pieces = [(self.row[part], self.moving[part], self._point[part]) for part in parts]

    def move_to(self, shared: Sequence[float], last: float, *, is_new_row: bool) -> None:
        """The sum is taken in the order of the directions, whatever of it is there already."""
        flat, row = self._flat, self.row
        if is_new_row or row is self._point:
            for index, coefficient in enumerate(shared):
                torch.add(flat[0] if index == 0 else row, flat[index + 1], alpha=coefficient, out=row)
        for part, moving, point in self._pieces:
            torch.add(part, moving, alpha=last, out=point)
        if self.values is not self._point:
            self.values.copy_(self._point)


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
            node: _at_points(base, coefficients, moving).view(len(coefficients), *shape)
            for node, (base, moving, shape) in self._nodes.items()
        }


def _at_points(base: Tensor, coefficients: Tensor, moving: Tensor) -> Tensor:
    """A row for each point, in the base's dtype.

    Directions of a model of half precision have more digits than its weights. The sum is then rounded after each of
    them, as where it is written into the weights' own place.
    """
    weights = coefficients.to(moving.dtype)
    if moving.dtype == base.dtype:
        return torch.addmm(base, weights, moving)
    total = base.expand(len(weights), -1)
    for index, direction in enumerate(moving):
        total = torch.add(total, weights[:, index, None] * direction).to(base.dtype)
    return total


def _joined(parts: list[Tensor]) -> Tensor:
    """One after another, each beginning where instructions find it as if it lay alone."""
    if len(parts) == 1:
        return parts[0].contiguous()
    return torch.cat([piece for part in parts for piece in (part, part.new_zeros(_room(part) - part.numel()))])


def _room(tensor: Tensor) -> int:
    return -(-tensor.numel() // _ALIGNED) * _ALIGNED


def _memory_order(node: fx.Node, tensor: Tensor, layout: Layout) -> list[int]:
    """The axes from the slowest to the fastest in memory, so that a view of a flat buffer has the tensor's layout.

    With `columns`, a matrix that is computed (not a parameter) has the samples of each feature side by side.
    """
    if layout == "columns" and tensor.ndim == 2 and node.op != "placeholder":
        return [1, 0]
    if is_wanted_whole(node):
        return list(range(tensor.ndim))
    return sorted(range(tensor.ndim), key=lambda axis: (-tensor.stride(axis), axis))
