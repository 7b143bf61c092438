"""Named tensors as vectors: selection by name, and the few operations of linear algebra that slices need.

A vector is a mapping of names to tensors. A name that is missing stands for a tensor of zeros, so that a direction
in one layer costs that layer only. Sums are taken in float64, block by block, so that no copy of a large tensor is
made; a vector whose tensors fill the memory is a `LazyTensors`.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from slicer_core.errors import UsageError, suggestion

NamedTensors = Mapping[str, Tensor]


# Larger tensors are taken in ranges of their rows (entries along dimension 0).
BLOCK_BYTES = 8 * 2**20


class LazyTensors(Mapping[str, Tensor]):
    """A vector whose tensors are made or read each time that they are asked for, and that keeps none of them.

    Args:
        like: for each name, a tensor of its shape and dtype on the meta device.
        make: (name, start, stop) -> those rows of the tensor; (0, 1) is all of one without dimensions.
    """

    def __init__(self, like: Mapping[str, Tensor], make: Callable[[str, int, int], Tensor]) -> None:
        self.like = dict(like)
        self.rows = make

    def __getitem__(self, name: str) -> Tensor:
        like = self.like[name]
        first, *others = row_blocks(like)
        block = self.rows(name, *first)
        if not others:
            return block
        whole = block.new_empty(like.shape)
        whole[slice(*first)] = block
        for start, stop in others:
            whole[start:stop] = self.rows(name, start, stop)
        return whole

    def __iter__(self) -> Iterator[str]:
        return iter(self.like)

    def __len__(self) -> int:
        return len(self.like)

    def __contains__(self, name: object) -> bool:
        # The inherited one asks for the tensor.
        return name in self.like


def shapes_of(vector: NamedTensors) -> Mapping[str, Tensor]:
    """For each name a tensor of the vector's shape and dtype, whose values are not to be used."""
    return vector.like if isinstance(vector, LazyTensors) else vector


def subset(vector: NamedTensors, names: Collection[str]) -> NamedTensors:
    """The vector of these names alone, lazy where the whole is."""
    if isinstance(vector, LazyTensors):
        return LazyTensors({name: vector.like[name] for name in names}, vector.rows)
    return {name: vector[name] for name in names}


def row_blocks(tensor: Tensor) -> list[tuple[int, int]]:
    """Ranges (start, stop) along dimension 0 that cover the tensor, each of at most `BLOCK_BYTES` or of one row.

    One range for a tensor that is no larger; (0, 1) where there is no dimension.
    """
    count = tensor.shape[0] if tensor.ndim else 1
    size = tensor.numel() * tensor.element_size()
    if size <= BLOCK_BYTES:
        return [(0, count)]
    step = max(1, BLOCK_BYTES * count // size)
    return [(start, min(start + step, count)) for start in range(0, count, step)]


def rows_of(vector: NamedTensors, name: str, start: int, stop: int) -> Tensor:
    """Rows `start` to `stop` of one of the vector's tensors, not copied where it is at hand."""
    if isinstance(vector, LazyTensors):
        return vector.rows(name, start, stop)
    tensor = vector[name]
    return tensor[start:stop] if tensor.ndim else tensor


def in_double(tensor: Tensor) -> Tensor:
    """The tensor in float64, or in complex128."""
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def wide_enough(dtype: torch.dtype) -> torch.dtype:
    """That of a direction in a parameter of the dtype: float32 at least.

    Raises:
        UsageError: it is one of the floating types of 8 bits, which torch does not add.
    """
    if dtype.is_floating_point and dtype.itemsize == 1:
        raise UsageError(
            f"parameters of {str(dtype).removeprefix('torch.')} can't be moved, since torch adds none of them: leave "
            "them out with --exclude, or let the module hold them in float32"
        )
    return torch.promote_types(dtype, torch.float32)


def real_entries(tensor: Tensor) -> Tensor:
    """All entries in one row, in float64; a complex one is two, as products and norms of real vectors have it."""
    flat = tensor.reshape(-1)
    return (torch.view_as_real(flat.resolve_conj()).reshape(-1) if flat.is_complex() else flat).double()


def dot(left: NamedTensors, right: NamedTensors) -> float:
    """Σ over the names that both have of the elementwise product, accumulated in float64."""
    return products([left, right])[0][1]


def norm(vector: NamedTensors) -> float:
    """The 2-norm of all entries together, accumulated in float64."""
    return math.sqrt(products([vector])[0][0])


def cosine(left: NamedTensors, right: NamedTensors) -> float:
    """The cosine of the angle between two vectors; NaN where one of them is zero."""
    return cosine_of(products([left, right]))


def products(vectors: Sequence[NamedTensors]) -> list[list[float]]:
    """The dot product of each vector with each, accumulated in float64; every block of a vector is made once."""
    count = len(vectors)
    total = [[0.0] * count for _ in range(count)]
    shapes: dict[str, Tensor] = {}
    for vector in vectors:
        shapes |= {name: tensor for name, tensor in shapes_of(vector).items() if name not in shapes}
    for name, like in shapes.items():
        there = [index for index in range(count) if name in shapes_of(vectors[index])]
        sums = [[0.0] * count for _ in range(count)]
        for start, stop in row_blocks(like):
            blocks = {index: real_entries(rows_of(vectors[index], name, start, stop)) for index in there}
            device = blocks[there[0]].device
            for index, block in blocks.items():
                sums[index][index] += torch.sum(block**2).item()
                for other in there:
                    if other > index:
                        sums[index][other] += torch.dot(block.to(device), blocks[other].to(device)).item()
        for index in range(count):
            for other in range(index, count):
                total[index][other] += sums[index][other]
                total[other][index] = total[index][other]
    return total


def cosine_of(products: Sequence[Sequence[float]]) -> float:
    """The cosine between the first two of the vectors that `products` was given; NaN where one of them is zero."""
    scale = math.sqrt(products[0][0]) * math.sqrt(products[1][1])
    return products[0][1] / scale if scale > 0 else math.nan


def difference(end: NamedTensors, start: NamedTensors) -> NamedTensors:
    """`end - start` for the names of `start`; lazy where one of them is.

    In the dtype of `start`, but of halves in float32: rounded to so few digits it leads elsewhere than to the end.
    """

    def apart(ours: Tensor, theirs: Tensor) -> Tensor:
        wide = wide_enough(ours.dtype)
        return theirs.to(ours).to(wide) - ours.to(wide)

    return _by_entry(start, end, apart, wide_enough)


def added(start: NamedTensors, step: NamedTensors) -> NamedTensors:
    """`start + step` for the names of `start`, in the dtype of `start`; lazy where one of them is."""
    return _by_entry(start, step, lambda ours, theirs: ours + theirs.to(ours), lambda dtype: dtype)


def _by_entry(
    own: NamedTensors,
    other: NamedTensors,
    combine: Callable[[Tensor, Tensor], Tensor],
    kind: Callable[[torch.dtype], torch.dtype],
) -> NamedTensors:
    """`combine` of both, entry by entry, which is of the dtype `kind` of that of `own`."""

    def rows(name: str, start: int, stop: int) -> Tensor:
        return combine(rows_of(own, name, start, stop), rows_of(other, name, start, stop))

    like = {
        name: torch.empty(tensor.shape, dtype=kind(tensor.dtype), device="meta")
        for name, tensor in shapes_of(own).items()
    }
    lazy = LazyTensors(like, rows)
    return lazy if isinstance(own, LazyTensors) or isinstance(other, LazyTensors) else dict(lazy)


def merged(*vectors: NamedTensors) -> NamedTensors:
    """The names of all, each with the tensor of the last vector that has it; lazy where one of them is."""
    owner = {name: vector for vector in vectors for name in vector}
    if not any(isinstance(vector, LazyTensors) for vector in vectors):
        return {name: vector[name] for name, vector in owner.items()}
    like = {name: shapes_of(vector)[name].to("meta") for name, vector in owner.items()}
    return LazyTensors(like, lambda name, start, stop: rows_of(owner[name], name, start, stop))


def select_names(
    names: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = (), *, option: str = "--params"
) -> list[str]:
    """The names that match any glob of `include` (all where it is empty) and none of `exclude`, in their order.

    Raises:
        UsageError: a glob matches no name, or nothing is left.
    """
    for label, globs in ((option, include), ("--exclude", exclude)):
        for glob in globs:
            if not any(fnmatch.fnmatchcase(name, glob) for name in names):
                raise UsageError(
                    f"{label} {glob!r} matches no parameter{suggestion(glob, names)}. "
                    f"The model has {len(names)}, for example {', '.join(names[:4])}"
                )
    chosen = [
        name
        for name in names
        if (not include or any(fnmatch.fnmatchcase(name, glob) for glob in include))
        and not any(fnmatch.fnmatchcase(name, glob) for glob in exclude)
    ]
    if not chosen:
        raise UsageError(f"{option} and --exclude leave no parameter of the {len(names)} that can vary")
    return chosen
