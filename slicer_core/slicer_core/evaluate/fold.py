"""BatchNorm in eval mode folded into the convolution before it, in a captured graph.

conv(x, W) then (y - μ)·s + b, s = γ/√(σ² + ε), is conv(x, W·s) with bias (bias - μ)·s + b: a pass over the activations
less at each point. Where γ and the statistics do not vary, the folded weight is affine like W itself.
"""

from __future__ import annotations

import operator

import torch
from torch import fx

Aten = torch.ops.aten

_CONVOLUTIONS = (Aten.conv1d.default, Aten.conv2d.default, Aten.conv3d.default)
_BATCH_NORM = Aten._native_batch_norm_legit_no_training.default
_NUM_POSITIONAL = 5
_EPSILON_POSITION = 6


def fold_batchnorm(graph: fx.Graph) -> int:
    """Rewrites the graph in place; returns how many BatchNorms were folded."""
    folded = 0
    for norm in list(graph.nodes):
        if norm.op != "call_function" or norm.target is not _BATCH_NORM:
            continue
        convolution = norm.args[0]
        if not isinstance(convolution, fx.Node) or convolution.target not in _CONVOLUTIONS or convolution.kwargs:
            continue
        reads = [user for user in norm.users if user.target is operator.getitem and user.args[1] == 0]
        if len(convolution.users) != 1 or len(reads) != len(norm.users) or any(arg is None for arg in norm.args[3:5]):
            continue
        _fold(graph, convolution, norm, reads)
        folded += 1
    if folded:
        graph.eliminate_dead_code()
    return folded


def _fold(graph: fx.Graph, convolution: fx.Node, norm: fx.Node, reads: list[fx.Node]) -> None:
    inputs, weight, *rest = convolution.args
    gamma, beta, mean, variance = norm.args[1:_NUM_POSITIONAL]
    bias = rest[0] if rest else None
    num_axes = _CONVOLUTIONS.index(convolution.target) + 1
    with graph.inserting_before(reads[0]):

        def call(target: object, *args: object) -> fx.Node:
            return graph.call_function(target, args)  # type: ignore[arg-type] - nodes and lists of sizes, as fx takes them

        shifted = call(Aten.add.Scalar, variance, norm.args[_EPSILON_POSITION])
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
