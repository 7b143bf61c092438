"""A last linear layer with cross-entropy over many classes, without ever holding all of its scores.

The scores of a language model are by far its largest result: samples by tokens by words. Here they are made a block of
rows and classes at a time, and only the running maximum and sum of exponentials of each row are kept (the online
normalizer of Milakov and Gimelshein, 2018, https://arxiv.org/abs/1805.02867). A block stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from slicer_core.evaluate.crossentropy import IGNORED, NO_REDUCTION, unreduced
from slicer_core.evaluate.partition import Partition

Aten = torch.ops.aten

# Fewer are quicker at once.
_MANY_CLASSES = 8192
# Rows and classes of a block: 4 MB in float32 for a core; elsewhere more, which was not measured.
_BLOCK = {"cpu": (1024, 1024)}
_LARGE_BLOCK = (4096, 16384)
_WIDE = (torch.float32, torch.float64)
_CONVERSIONS = (Aten._to_copy.default, Aten.to.dtype)
_RESHAPES = (Aten.view.default, Aten.reshape.default, Aten._unsafe_view.default, Aten.flatten.using_ints)


class Scores(NamedTuple):
    """What scores are computed from: inputs (…, features), weight (classes, features) and bias, and their dtype."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    dtype: torch.dtype


def fused_heads(parts: Partition, results: Sequence[fx.Node]) -> dict[fx.Node, Callable[..., Any]]:
    """Node -> what to call in place of its operation, for each linear layer whose scores only a loss reads.

    The layer then gives `Scores`, what lies between passes them on, and the loss takes them. Both have to be general:
    scores that move affinely are quicker to combine than to compute.
    """
    general, kept = set(parts.general), set(results)
    found: dict[fx.Node, Callable[..., Any]] = {}
    for loss in parts.general:
        if (head := _head(loss, general, kept)) is None:
            continue
        linear, between = head
        found |= {linear: _scores, **{node: _PASSED_ON[node.target] for node in between}, loss: _BlockwiseLoss()}
    return found


def _head(loss: fx.Node, general: set[fx.Node], kept: set[fx.Node]) -> tuple[fx.Node, list[fx.Node]] | None:
    if (given := unreduced(loss)) is None:
        return None
    scores, target, _, _ = given
    if not _are_many_classes(scores, target):
        return None
    assert isinstance(scores, fx.Node)
    between: list[fx.Node] = []
    node: object = scores
    while isinstance(node, fx.Node) and node in general and len(general & node.users.keys()) == 1 and node not in kept:
        if node.target is Aten.linear.default:
            return (node, between) if _value(node).shape[-1] == _value(scores).shape[1] else None
        if not _passes_on(node, is_last=node is scores):
            return None
        between.append(node)
        node = node.args[0]
    return None


def _are_many_classes(scores: object, target: object) -> bool:
    if not isinstance(scores, fx.Node) or not isinstance(target, fx.Node):
        return False
    values, classes = _value(scores), _value(target)
    # With tokens, classes are in dimension 1, where a layer does not put them.
    ndim = 3 if scores.target is Aten.transpose.int else 2
    return (
        isinstance(values, Tensor)
        and isinstance(classes, Tensor)
        and values.ndim == ndim == classes.ndim + 1
        and values.dtype in _WIDE
        and not classes.is_floating_point()
        and isinstance(values.shape[1], int)
        and values.shape[1] >= _MANY_CLASSES
    )


def _passes_on(node: fx.Node, *, is_last: bool) -> bool:
    """Whether the operation leaves rows of scores as they are, and can be had of the rows that they come from."""
    given, value = node.args[0], _value(node)
    if node.target not in _PASSED_ON or not isinstance(given, fx.Node) or not isinstance(_value(given), Tensor):
        return False
    ndim, dims = _value(given).ndim, [entry for entry in node.args[1:] if isinstance(entry, int)]
    if node.target in _CONVERSIONS:
        return True
    if node.kwargs:
        return False
    if node.target in _RESHAPES:
        return value.ndim == 2 and value.shape[-1] == _value(given).shape[-1]
    if node.target is Aten.slice.Tensor:
        return (dims[0] if dims else 0) % ndim != ndim - 1
    # (n, tokens, classes) to (n, classes, tokens), as the loss has them.
    return is_last and ndim == 3 and {dim % ndim for dim in dims} == {1, 2}


def _value(node: fx.Node) -> Any:
    return node.meta.get("val")


def _scores(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Scores:
    return Scores(x, weight, bias, x.dtype)


def _converted(scores: Scores, *args: Any, dtype: torch.dtype | None = None, **kwargs: Any) -> Scores:
    wanted = next((entry for entry in args if isinstance(entry, torch.dtype)), dtype)
    return scores._replace(dtype=wanted or scores.dtype)


def _reshaped(scores: Scores, *_: Any) -> Scores:
    return scores._replace(x=scores.x.reshape(-1, scores.x.shape[-1]))


def _sliced(scores: Scores, *args: Any) -> Scores:
    return scores._replace(x=Aten.slice.Tensor(scores.x, *args))


_PASSED_ON: Mapping[Any, Callable[..., Scores]] = {
    **dict.fromkeys(_CONVERSIONS, _converted),
    **dict.fromkeys(_RESHAPES, _reshaped),
    Aten.slice.Tensor: _sliced,
    Aten.transpose.int: lambda scores, *_: scores,
}
"""What may lie between the layer and the loss, as it is done to `Scores`."""


class _BlockwiseLoss:
    """-w[y]·log softmax(scores)[y] of each row, 0 for targets that are ignored; the block's memory is kept."""

    def __init__(self) -> None:
        self._block: Tensor | None = None

    def __call__(
        self,
        scores: Scores,
        target: Tensor,
        weight: Tensor | None = None,
        reduction: int = NO_REDUCTION,
        ignored: int = IGNORED,
        smoothing: float = 0.0,
    ) -> Tensor:
        x, matrix, bias, dtype = scores
        rows, classes = x.reshape(-1, x.shape[-1]), target.reshape(-1)
        counted = classes != ignored
        classes = torch.where(counted, classes, 0)
        losses = torch.empty(len(rows), dtype=dtype, device=x.device)
        height, _ = self._size(x.device)
        for first in range(0, len(rows), height):
            part = slice(first, first + height)
            losses[part] = self._losses(rows[part], matrix, bias, dtype, classes[part])
        if weight is not None:
            losses *= weight[classes]
        return torch.where(counted, losses, 0.0).view(target.shape)

    def _losses(self, rows: Tensor, matrix: Tensor, bias: Tensor | None, dtype: torch.dtype, classes: Tensor) -> Tensor:
        largest = rows.new_full((len(rows),), torch.finfo(dtype).min, dtype=dtype)
        total, own = torch.zeros_like(largest), torch.zeros_like(largest)
        _, width = self._size(rows.device)
        for first in range(0, len(matrix), width):
            block = self._scores(rows, matrix[first : first + width], None if bias is None else bias[first:][:width])
            block = block.to(dtype)
            place = classes - first
            inside = (place >= 0) & (place < block.shape[1])
            picked = block.gather(1, place.clamp(0, block.shape[1] - 1).unsqueeze(1)).squeeze(1)
            torch.where(inside, picked, own, out=own)
            larger = torch.maximum(largest, block.amax(dim=1))
            total.mul_(largest.sub_(larger).exp_())
            total.add_(block.sub_(larger.unsqueeze(1)).exp_().sum(dim=1))
            largest = larger
        return largest + total.log() - own

    def _scores(self, rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        if self._block is None or self._block.dtype != rows.dtype or self._block.device != rows.device:
            height, width = self._size(rows.device)
            self._block = torch.empty(height * width, dtype=rows.dtype, device=rows.device)
        place = self._block[: len(rows) * len(matrix)].view(len(rows), len(matrix))
        if bias is None:
            return torch.mm(rows, matrix.t(), out=place)
        return torch.addmm(bias, rows, matrix.t(), out=place)

    @staticmethod
    def _size(device: torch.device) -> tuple[int, int]:
        return _BLOCK.get(device.type, _LARGE_BLOCK)
