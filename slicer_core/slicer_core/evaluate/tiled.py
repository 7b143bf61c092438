"""Which convolutions of a graph tiles pay for, and how they are called; see `winograd`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.replaced import Call, Forms, Replaced, Replacement
from slicer_core.evaluate.winograd import (
    FEWEST_CHANNELS,
    ConvolutionShape,
    TiledConvolution,
    saves_products,
    tiled_convolutions_of,
)

Aten = torch.ops.aten

_CONVOLUTIONS = (Aten.conv2d.default, Aten.conv2d.padding)
# What comes after inputs and weight, where a call leaves it out.
_DEFAULTS: tuple[Any, ...] = (None, 1, 0, 1, 1)
_PADDINGS = {"same": (1, 1), "valid": (0, 0)}
_ABSORBS = frozenset({Aten.add.Tensor, Aten.relu.default})
# They take about 1.5 s to compile.
_WORTH_SECONDS = 6.0
_MANY_FILTERS = 128 * 128
_DTYPES = (torch.float32, torch.float64)
# With fewer tiles the transform of the weight costs what the products save, and what tiles have beyond the outputs is
# computed in vain.
_MIN_TILES = 32
_MIN_COVERED = 0.5
# What transformed weights may take, at most.
_KEPT_BYTES = 64 * 2**20


def tiles_may_pay(objective: Objective, in_loop: float) -> bool:
    """Whether tiles may pay for what they take to compile, in a job of which the loop would take so many seconds."""
    is_long = objective.device.type == "cpu" and in_loop > _WORTH_SECONDS
    return is_long and any(map(_tiled_weights, objective.model.modules()))


def has_many_filters(model: nn.Module) -> bool:
    """Whether there may be a convolution by tiles whose transformed filters no core's cache holds."""
    return any(shape[0] * shape[1] >= _MANY_FILTERS for module in model.modules() for shape in _tiled_weights(module))


def _tiled_weights(module: nn.Module) -> list[tuple[int, ...]]:
    """Shapes of a layer's weights that look like those of a convolution that tiles may pay for."""
    found = [tuple(own.shape) for own in module.parameters(recurse=False)]
    if isinstance(module, nn.Conv2d):
        is_plain = module.stride == module.dilation == (1, 1) and module.groups == 1
        found = [(module.out_channels, module.in_channels, *module.kernel_size)] if is_plain else []
    elif type(module).__module__.startswith("torch.nn."):
        # A module of the user's may call `conv2d`; torch's other layers have kernels for something else.
        return []
    return [shape for shape in found if shape[2:] == (3, 3) and min(shape[:2]) >= FEWEST_CHANNELS]


def may_have_tiles(node: fx.Node) -> bool:
    """Whether a node of a graph is a convolution that tiles may pay for, if its weight and images have the sizes."""
    if node.target not in _CONVOLUTIONS or node.kwargs:
        return False
    _, stride, _, dilation, groups = _arguments(node)
    return _pair(stride) == _pair(dilation) == (1, 1) and groups == 1


def tiled_convolutions(
    nodes: Sequence[fx.Node], form: Forms, constants: Mapping[fx.Node, Any], *, memory: int
) -> Replaced:
    """The convolutions that tiles pay for.

    They share what they write to, so they run one after another, and it takes up to half of `memory`, in bytes: one
    with which it would take more is left as it is. Of weights that are the same at all points, transforms are kept in
    the other half as far as they fit; others are made at each point.
    """
    kept, most = 0, memory // 2
    shapes = {node: shape for node in nodes if (shape := _shape(node, form)) is not None and _pays(shape)}
    found = zip(shapes, tiled_convolutions_of(list(shapes.values()), most_bytes=most), strict=True)
    made: dict[fx.Node, Replacement] = {}
    for node, convolution in found:
        if convolution is None:
            continue
        weight, filters = constants.get(_inputs(node)[1]), None
        if weight is not None and kept + convolution.filter_bytes <= min(most, _KEPT_BYTES):
            filters = convolution.filters_of(weight, kept=True)
            kept += convolution.filter_bytes
        made[node] = _replacement(convolution, filters)
    return made


def _replacement(convolution: TiledConvolution, filters: Tensor | None) -> Replacement:
    def into(out: Tensor) -> Call:
        def write(x: Tensor, weight: Tensor, bias: Tensor | None = None, *_: Any, **tail: Any) -> Tensor:
            own = convolution.filters_of(weight) if filters is None else filters
            return convolution(x, own, bias, out=out, **tail)

        return write

    return Replacement(into, _ABSORBS)


def _pays(shape: ConvolutionShape) -> bool:
    return (
        saves_products(shape) and shape.images * shape.high * shape.wide >= _MIN_TILES and shape.covered >= _MIN_COVERED
    )


def _shape(node: fx.Node, form: Forms) -> ConvolutionShape | None:
    """None for what is no convolution of 3 by 3 with stride 1 of images on the CPU."""
    if not may_have_tiles(node):
        return None
    (size, dtype, device, *_), (filters, *_) = map(form, _inputs(node))
    if len(size) != 4 or tuple(filters[2:]) != (3, 3) or dtype not in _DTYPES or device.type != "cpu":
        return None
    _, _, padding, _, _ = _arguments(node)
    images, channels, height, width = size
    return ConvolutionShape(
        images=images,
        channels=channels,
        height=height,
        width=width,
        outputs=filters[0],
        padding=_PADDINGS[padding] if isinstance(padding, str) else _pair(padding),
        dtype=dtype,
    )


def _inputs(node: fx.Node) -> tuple[fx.Node, fx.Node]:
    """Images and weight."""
    x, weight = node.args[:2]
    assert isinstance(x, fx.Node)
    assert isinstance(weight, fx.Node)
    return x, weight


def _arguments(node: fx.Node) -> tuple[Any, ...]:
    """Bias, stride, padding, dilation and groups."""
    return *node.args[2:], *_DEFAULTS[len(node.args) - 2 :]


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    """One number stands for both axes."""
    numbers = [value] if isinstance(value, int) else list(value)
    return numbers[0], numbers[-1]
