"""BatchNorm in eval mode folded into the convolution before it, in a captured graph.

conv(x, W) then (y - μ)·s + b, s = γ/√(σ² + ε), is conv(x, W·s) with bias (bias - μ)·s + b: a pass over the activations
less at each point. Where γ and the statistics do not vary, the folded weight is affine like W itself.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

Aten = torch.ops.aten

# Each convolution -> the number of its spatial axes.
_CONVOLUTIONS: dict[Any, int] = {
    overload: num_axes
    for num_axes, packet in enumerate((Aten.conv1d, Aten.conv2d, Aten.conv3d), start=1)
    for overload in (packet.default, packet.padding)
}
# How a graph has it as it was captured, and how `run_decompositions` leaves it.
_BATCH_NORM = Aten.batch_norm.default
_BATCH_NORM_WITH_STATISTICS = Aten._native_batch_norm_legit_no_training.default
_NUM_TENSORS = 5
_TRAINING_POSITION = 5
_EPSILON_POSITIONS: dict[Any, int] = {_BATCH_NORM: 7, _BATCH_NORM_WITH_STATISTICS: 6}


def fold_batchnorm(graph: fx.Graph) -> int:
    """Rewrites the graph in place; returns how many BatchNorms were folded."""
    folded = 0
    for norm in list(graph.nodes):
        if norm.target not in _EPSILON_POSITIONS or any(tensor is None for tensor in norm.args[3:_NUM_TENSORS]):
            continue
        if norm.target is _BATCH_NORM and norm.args[_TRAINING_POSITION] is not False:
            continue
        convolution = norm.args[0]
        if not isinstance(convolution, fx.Node) or convolution.target not in _CONVOLUTIONS or convolution.kwargs:
            continue
        reads = [norm]
        if norm.target is _BATCH_NORM_WITH_STATISTICS:
            reads = [user for user in norm.users if user.target is operator.getitem and user.args[1] == 0]
            if len(reads) != len(norm.users):
                continue
        if len(convolution.users) != 1:
            continue
        _fold(graph, convolution, norm, reads)
        folded += 1
    if folded:
        graph.eliminate_dead_code()
    return folded


def _fold(graph: fx.Graph, convolution: fx.Node, norm: fx.Node, reads: list[fx.Node]) -> None:
    inputs, weight, *rest = convolution.args
    gamma, beta, mean, variance = norm.args[1:_NUM_TENSORS]
    bias = rest[0] if rest else None
    num_axes = _CONVOLUTIONS[convolution.target]
    with graph.inserting_before(reads[0]):

        def call(target: object, *args: object) -> fx.Node:
            return graph.call_function(target, args)  # type: ignore[arg-type] - nodes and lists of sizes, as fx takes them

        shifted = call(Aten.add.Scalar, variance, norm.args[_EPSILON_POSITIONS[norm.target]])
        scale = call(Aten.rsqrt.default, shifted)
        if gamma is not None:
            scale = call(Aten.mul.Tensor, gamma, scale)
        by_channel = call(Aten.view.default, scale, [-1, *([1] * (num_axes + 1))])
        offset = call(Aten.neg.default, mean) if bias is None else call(Aten.sub.Tensor, bias, mean)
        offset = call(Aten.mul.Tensor, offset, scale)
        if beta is not None:
            offset = call(Aten.add.Tensor, offset, beta)
        folded = call(convolution.target, inputs, call(Aten.mul.Tensor, weight, by_channel), offset, *rest[1:])
    for read in reads:
        read.replace_all_uses_with(folded)
