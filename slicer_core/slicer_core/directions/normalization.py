"""Scaling a random direction to the center's weights, so that slices of differently scaled networks compare.

Li, Xu, Taylor, Studer, Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS 2018, section 4. They
normalize by filter: each slice of a tensor that makes one output unit gets the norm of that slice of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slicer_core.choices import IGNORES, NORMALIZATIONS, Ignore, Normalization
from slicer_core.errors import UsageError
from slicer_core.parameters import LazyTensors, NamedTensors, row_blocks, rows_of, shapes_of

_EPSILON = 1e-10
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, kw_only=True)
class FilterLayout:
    """Where the output units of a tensor are: along `axis`, within each of `groups` parts of dimension 0."""

    axis: int = 0
    groups: int = 1


def filter_layouts(model: nn.Module) -> dict[str, FilterLayout]:
    """The layout of each parameter that does not have its output units along dimension 0."""
    layouts: dict[str, FilterLayout] = {}
    for prefix, module in model.named_modules():
        if isinstance(module, _TRANSPOSED):
            layout = FilterLayout(axis=1, groups=module.groups)
        elif type(module).__name__ == "Conv1D" and type(module).__module__.startswith("transformers."):
            layout = FilterLayout(axis=1)
        else:
            continue
        for name, _ in module.named_parameters(recurse=False):
            layouts[f"{prefix}.{name}" if prefix else name] = layout
    return layouts


def normalize_direction(
    direction: NamedTensors,
    center: NamedTensors,
    *,
    normalization: Normalization = "filter",
    ignore: Ignore = "biasbn",
    layouts: Mapping[str, FilterLayout] | None = None,
) -> NamedTensors:
    """The direction scaled tensor by tensor to the `center` of the same names and shapes; lazy where the direction is.

    `ignore`: "biasbn" leaves out tensors of one dimension or fewer, "none" takes such a tensor as one filter, "li"
    puts the center's own values there.

    Raises:
        UsageError: an unknown normalization or ignore.
    """
    if normalization not in _SCALES:
        raise UsageError(f"--normalize {normalization!r} is not one of {', '.join(NORMALIZATIONS)}")
    if ignore not in IGNORES:
        raise UsageError(f"--ignore {ignore!r} is not one of {', '.join(IGNORES)}")
    scaled = _Scaled(direction, center, normalization, copies_vectors=ignore == "li", layouts=layouts or {})
    like = {
        name: tensor.to("meta")
        for name, tensor in shapes_of(direction).items()
        if tensor.ndim > 1 or ignore != "biasbn"
    }
    lazy = LazyTensors(like, scaled.rows)
    return lazy if isinstance(direction, LazyTensors) else dict(lazy)


class _Scaled:
    """Makes rows of the scaled direction from rows of the raw one and of the center.

    Norms that go over more rows than are at hand are taken block by block first, and kept.
    """

    def __init__(
        self,
        direction: NamedTensors,
        center: NamedTensors,
        normalization: Normalization,
        *,
        copies_vectors: bool,
        layouts: Mapping[str, FilterLayout],
    ) -> None:
        self._direction = direction
        self._center = center
        self._scale = _SCALES[normalization]
        self._whole_tensors = normalization in ("layer", "dlayer")
        self._copies_vectors = copies_vectors
        self._layouts = layouts
        self._kept: dict[tuple[str, bool], Tensor] = {}

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """See `LazyTensors`."""
        blocks = row_blocks(shapes_of(self._direction)[name])
        low, high = blocks[0] if len(blocks) == 1 else (start, stop)
        tensor = rows_of(self._direction, name, low, high)
        if tensor.ndim <= 1 and self._copies_vectors:
            scaled = self.weights(tensor, name, low, high).clone()
        else:
            scaled = self._scale(tensor, _Part(self, name, low, high))
        return scaled if (low, high) == (start, stop) else scaled[start:stop]

    def weights(self, like: Tensor, name: str, start: int, stop: int) -> Tensor:
        """Rows of the center, in the direction's dtype and on its device."""
        return rows_of(self._center, name, start, stop).to(like.device, like.dtype)

    def norms(self, rows: Tensor, name: str, start: int, stop: int, *, of_weights: bool) -> Tensor:
        """The norm of each entry's unit, in a shape that broadcasts with the rows, which are at hand."""
        shape = shapes_of(self._direction)[name].shape
        layout = self._layouts.get(name, FilterLayout())
        spans_rows = self._whole_tensors or len(shape) <= 1 or layout.axis > 0
        if not spans_rows or stop - start == (shape[0] if shape else 1):
            return _norm(rows) if self._whole_tensors else _filter_norms(rows, layout if spans_rows else FilterLayout())
        axis = None if self._whole_tensors or len(shape) <= 1 else layout.axis
        groups = 1 if axis is None else layout.groups
        if (name, of_weights) not in self._kept:
            self._kept[name, of_weights] = self._norms_over_blocks(rows, name, axis, groups, of_weights=of_weights)
        kept = self._kept[name, of_weights]
        return kept if axis is None else kept[torch.arange(start, stop, device=kept.device) // (shape[0] // groups)]

    def _norms_over_blocks(self, like: Tensor, name: str, axis: int | None, groups: int, *, of_weights: bool) -> Tensor:
        """All of a tensor in one norm, or one for each entry along `axis` in each group of rows."""
        tensor = shapes_of(self._direction)[name]
        size = tensor.shape[0] // groups
        found = []
        for group in range(groups):
            parts = []
            for start, stop in row_blocks(tensor[:size]):
                low, high = group * size + start, group * size + stop
                rows = self.weights(like, name, low, high) if of_weights else rows_of(self._direction, name, low, high)
                others = None if axis is None else [other for other in range(rows.ndim) if other != axis]
                parts.append(torch.linalg.vector_norm(rows, dim=others, keepdim=axis is not None, dtype=torch.float64))
            found.append(torch.linalg.vector_norm(torch.stack(parts), dim=0))
        return (found[0] if axis is None else torch.cat(found)).to(like.dtype)


@dataclass(frozen=True)
class _Part:
    """Rows that are to be scaled: the center's there, and the norms of both."""

    scaled: _Scaled
    name: str
    start: int
    stop: int

    def weights(self, tensor: Tensor) -> Tensor:
        return self.scaled.weights(tensor, self.name, self.start, self.stop)

    def norms(self, tensor: Tensor) -> Tensor:
        return self.scaled.norms(tensor, self.name, self.start, self.stop, of_weights=False)

    def weight_norms(self, tensor: Tensor) -> Tensor:
        return self.scaled.norms(self.weights(tensor), self.name, self.start, self.stop, of_weights=True)


def _to_the_weights(tensor: Tensor, part: _Part) -> Tensor:
    return tensor * part.weight_norms(tensor) / (part.norms(tensor) + _EPSILON)


def _by_weight(tensor: Tensor, part: _Part) -> Tensor:
    return tensor * part.weights(tensor)


def _to_one(tensor: Tensor, part: _Part) -> Tensor:
    return tensor / (part.norms(tensor) + _EPSILON)


def _unscaled(tensor: Tensor, part: _Part) -> Tensor:
    return tensor.clone()


_SCALES: dict[str, Callable[[Tensor, _Part], Tensor]] = {
    "filter": _to_the_weights,
    "layer": _to_the_weights,
    "weight": _by_weight,
    "dfilter": _to_one,
    "dlayer": _to_one,
    "none": _unscaled,
}


def _norm(tensor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tensor, dtype=torch.float64).to(tensor.dtype)


def _filter_norms(tensor: Tensor, layout: FilterLayout) -> Tensor:
    """The norm of each entry's own filter, in a shape that broadcasts with the tensor. A 1-D tensor is one filter."""
    if tensor.ndim <= 1:
        return _norm(tensor)
    # No -1 for the rows of a group: what it is can't be told of a tensor without entries.
    grouped = tensor.reshape(layout.groups, len(tensor) // layout.groups, *tensor.shape[1:])
    unit_axis = layout.axis + 1
    others = [axis for axis in range(1, grouped.ndim) if axis != unit_axis]
    norms = torch.linalg.vector_norm(grouped, dim=others, keepdim=True, dtype=torch.float64).to(tensor.dtype)
    return norms.expand(grouped.shape).reshape(tensor.shape)
