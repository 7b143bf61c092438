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
    direction: Mapping[str, Tensor],
    center: Mapping[str, Tensor],
    *,
    normalization: Normalization = "filter",
    ignore: Ignore = "biasbn",
    layouts: Mapping[str, FilterLayout] | None = None,
) -> dict[str, Tensor]:
    """The direction scaled tensor by tensor to the `center` of the same names and shapes.

    `ignore`: "biasbn" leaves out tensors of one dimension or fewer, "none" takes such a tensor as one filter, "li"
    puts the center's own values there.

    Raises:
        UsageError: an unknown normalization or ignore.
    """
    scale = _SCALES.get(normalization)
    if scale is None:
        raise UsageError(f"--normalize {normalization!r} is not one of {', '.join(NORMALIZATIONS)}")
    if ignore not in IGNORES:
        raise UsageError(f"--ignore {ignore!r} is not one of {', '.join(IGNORES)}")
    scaled: dict[str, Tensor] = {}
    for name, tensor in direction.items():
        weights = center[name].to(tensor.device, tensor.dtype)
        if tensor.ndim <= 1 and ignore == "biasbn":
            continue
        if tensor.ndim <= 1 and ignore == "li":
            scaled[name] = weights.clone()
        else:
            scaled[name] = scale(tensor, weights, (layouts or {}).get(name, FilterLayout()))
    return scaled


def _by_filter(tensor: Tensor, weights: Tensor, layout: FilterLayout) -> Tensor:
    return tensor * _filter_norms(weights, layout) / (_filter_norms(tensor, layout) + _EPSILON)


def _by_layer(tensor: Tensor, weights: Tensor, layout: FilterLayout) -> Tensor:
    return tensor * _norm(weights) / (_norm(tensor) + _EPSILON)


def _by_weight(tensor: Tensor, weights: Tensor, layout: FilterLayout) -> Tensor:
    return tensor * weights


def _unit_filters(tensor: Tensor, weights: Tensor, layout: FilterLayout) -> Tensor:
    return tensor / (_filter_norms(tensor, layout) + _EPSILON)


def _unit_layers(tensor: Tensor, weights: Tensor, layout: FilterLayout) -> Tensor:
    return tensor / (_norm(tensor) + _EPSILON)


def _unscaled(tensor: Tensor, weights: Tensor, layout: FilterLayout) -> Tensor:
    return tensor.clone()


_SCALES: dict[str, Callable[[Tensor, Tensor, FilterLayout], Tensor]] = {
    "filter": _by_filter,
    "layer": _by_layer,
    "weight": _by_weight,
    "dfilter": _unit_filters,
    "dlayer": _unit_layers,
    "none": _unscaled,
}


def _norm(tensor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tensor, dtype=torch.float64).to(tensor.dtype)


def _filter_norms(tensor: Tensor, layout: FilterLayout) -> Tensor:
    """The norm of each entry's own filter, in a shape that broadcasts with the tensor. A 1-D tensor is one filter."""
    if tensor.ndim <= 1:
        return _norm(tensor)
    grouped = tensor.reshape(layout.groups, -1, *tensor.shape[1:])
    unit_axis = layout.axis + 1
    others = [axis for axis in range(1, grouped.ndim) if axis != unit_axis]
    norms = torch.linalg.vector_norm(grouped, dim=others, keepdim=True, dtype=torch.float64).to(tensor.dtype)
    return norms.expand(grouped.shape).reshape(tensor.shape)
