"""Operations in C beside torch's own in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from slicer_core.evaluate import epilogue
from slicer_core.evaluate.in_c import attention, cross_entropy, layer_norm, linear
from slicer_core.evaluate.native import Memory

COMPILED = pytest.mark.skipif(linear.compiled() is None, reason="there is no C compiler")
NAN = float("nan")


def laid_out(matrix: Tensor, layout: str) -> Tensor:
    """The same numbers, elsewhere in memory."""
    if layout == "turned":
        return matrix.t().contiguous().t()
    if layout == "gaps":
        return torch.cat([matrix, torch.full_like(matrix, NAN)], 1)[:, : matrix.shape[1]]
    return matrix


def layer_of(shape: linear.LinearShape) -> linear.CompiledLinear:
    """With memory of its own."""
    memory = Memory()
    layer = linear.CompiledLinear(shape, memory)
    memory.reserve(layer.needs, torch.float32)
    return layer


def outputs_of(layer: linear.CompiledLinear, x: Tensor, weights: Tensor, bias: Any, out: Tensor, **tail: Any) -> Tensor:
    """The layer's, in `out`."""
    rows = layer.rows_of(x)
    layer.into(out)(linear.Inputs(rows.data_ptr(), len(rows), rows.stride(0)), weights, bias, **tail)
    return out


@COMPILED
@pytest.mark.parametrize("layout", ["plain", "turned", "gaps"])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(16, 64, 64), (97, 31, 5), (200, 513, 33), (5, 4, 16), (1, 1100, 1), (389, 80, 848)]
)
def test_linear_layers_are_torchs(rows: int, inputs: int, outputs: int, layout: str) -> None:
    x, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs) / math.sqrt(inputs)
    bias, added = torch.randn(outputs), torch.randn(rows, outputs)
    layer = layer_of(linear.LinearShape(rows=rows, inputs=inputs, outputs=outputs))
    exact = F.linear(x.double(), weight.double())
    x, own = laid_out(x, layout), laid_out(weight, layout)
    out = torch.full((rows, outputs), NAN)
    for kept in (False, True):
        weights = layer.weights_of(own, kept=kept)
        found = outputs_of(layer, x, weights, None, out)
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5)
        for more in (None, added, laid_out(added, "turned")):
            sums = exact + bias.double() + (0 if more is None else added.double())
            for name, activation in (("", lambda y: y), ("relu", F.relu), ("gelu", F.gelu)):
                found = outputs_of(layer, x, weights, bias, out, added=more, **{name: True} if name else {})
                torch.testing.assert_close(found.double(), activation(sums), rtol=0, atol=1e-5)


@COMPILED
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(16, 64, 10), (97, 5, 33), (203, 512, 16)])
def test_outputs_may_be_turned_and_inputs_combined(rows: int, inputs: int, outputs: int) -> None:
    base, moving, weight = torch.randn(rows, inputs), torch.randn(rows, inputs), torch.randn(outputs, inputs)
    bias, coefficient = torch.randn(outputs), -0.7
    for is_turned in (False, True):
        layer = layer_of(linear.LinearShape(rows=rows, inputs=inputs, outputs=outputs, is_turned=is_turned))
        weights = layer.weights_of(weight)
        out = torch.full((rows, outputs), NAN)
        out = out.t().contiguous().t() if is_turned else out
        for code, before in enumerate((lambda y: y, F.relu, F.gelu)):
            for name, after in (("", lambda y: y), ("gelu", F.gelu)):
                given = linear.Inputs(base.data_ptr(), rows, inputs, moving.data_ptr(), coefficient, code)
                layer.into(out)(given, weights, bias, **{name: True} if name else {})
                point = before(base.double() + coefficient * moving.double())
                exact = after(F.linear(point, weight.double(), bias.double()))
                torch.testing.assert_close(out.double(), exact, rtol=0, atol=1e-4)


@COMPILED
def test_activations_of_what_is_large_or_not_finite_are_torchs() -> None:
    inf = float("inf")
    x = torch.tensor([NAN, inf, -inf, 0.0, -0.0, 5.59, -5.59, 5.61, -5.61, 1e19, -1e19, 3e38, -3e38, 1e-39, -1.0, 1.0])
    layer = layer_of(linear.LinearShape(rows=1, inputs=1, outputs=16))
    weights = layer.weights_of(torch.zeros(16, 1))
    for name, activation in (("relu", F.relu), ("gelu", F.gelu)):
        found = outputs_of(layer, torch.zeros(1, 1), weights, x, torch.empty(1, 16), **{name: True})
        torch.testing.assert_close(found[0], activation(x), rtol=1e-6, atol=1e-6, equal_nan=True)


def attended(query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float | None) -> Tensor:
    """By the operation in C."""
    graph = torch.fx.Graph()
    nodes = [graph.placeholder(name) for name in "qkv"]
    keywords = {} if scale is None else {"scale": scale}
    node = graph.call_function(
        torch.ops.aten.scaled_dot_product_attention.default, (*nodes, None, 0.0, causal), keywords
    )
    out = torch.full((*query.shape[:3], value.shape[3]), NAN).transpose(1, 2).contiguous().transpose(1, 2)
    forms = {
        entry: epilogue.form_of(tensor) for entry, tensor in zip((*nodes, node), (query, key, value, out), strict=True)
    }
    replaced = attention.attentions([node], forms.__getitem__, memory=2**20)
    return replaced[node].into(out)(query, key, value)


@COMPILED
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("sequences", "heads", "queries", "tokens", "depth", "size"),
    [(3, 2, 37, 37, 16, 32), (1, 4, 6, 20, 7, 64), (2, 1, 20, 5, 33, 32), (2, 3, 1, 1, 8, 32)],
)
def test_attention_is_torchs(
    sequences: int, heads: int, queries: int, tokens: int, depth: int, size: int, causal: bool, scale: float | None
) -> None:
    query = torch.randn(sequences, queries, heads, depth).transpose(1, 2)
    key, value = (
        torch.randn(sequences, heads, tokens, depth),
        torch.randn(sequences, tokens, heads, size).transpose(1, 2),
    )
    for factor in (1.0, 100.0):
        # Scores that are far apart leave all weight to one.
        given = factor * query, key, value
        exact = F.scaled_dot_product_attention(*(part.double() for part in given), is_causal=causal, scale=scale)
        found = attended(*given, causal, scale)
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6 * factor)
    query[0, 0, 0, 0] = NAN
    found = attended(query, key, value, causal, scale)
    assert found[0, 0, 0].isnan().all()
    assert found.isnan().sum() == size


@COMPILED
def test_attention_without_weight_is_nothing_and_no_smallest_number() -> None:
    query, key = torch.ones(1, 1, 1, 1), torch.tensor([0.0, -79.0, -81.0, -1e30]).view(1, 1, 4, 1)
    value = torch.eye(4, 32).view(1, 1, 4, 32)
    found = attended(query, key, value, False, 1.0)[0, 0, 0, :4]
    torch.testing.assert_close(found, torch.tensor([1.0, math.exp(-79), 0.0, 0.0]), rtol=1e-6, atol=0)


@COMPILED
@pytest.mark.parametrize("sizes", [(), (0,), (0, 1)])
@pytest.mark.parametrize("size", [1, 5, 16, 31, 200])
def test_layer_normalization_is_torchs(size: int, sizes: tuple[int, ...]) -> None:
    x = 3 * torch.randn(7, 2, size) + 100
    parts = [torch.randn(size) if number in sizes else None for number in range(2)]
    found = layer_norm._into(torch.full_like(x, NAN))(x, [size], *parts, 1e-3)
    exact = F.layer_norm(x.double(), [size], *(None if part is None else part.double() for part in parts), 1e-3)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=5e-5)


@COMPILED
@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (15, 2), (16, 3), (33, 10), (70, 64)])
def test_cross_entropy_is_torchs(rows: int, classes: int, is_turned: bool) -> None:
    target = torch.randint(classes, (rows,))
    for factor in (0.0, 1.0, 30.0, 1e4):
        scores = factor * torch.randn(rows, classes) + factor
        given, out = scores.t().contiguous() if is_turned else scores.t(), torch.full((rows,), NAN)
        cross_entropy._into(out, targets=target[None])(given)
        exact = F.cross_entropy(scores.double(), target, reduction="none")
        # Of a row's scores only differences matter, which have the rounding of the largest.
        torch.testing.assert_close(out.double(), exact, rtol=0, atol=1e-6 + 4e-7 * float(scores.abs().max()))


@COMPILED
@pytest.mark.parametrize("is_turned", [False, True])
def test_cross_entropy_of_what_is_not_finite_is_torchs(is_turned: bool) -> None:
    inf = float("inf")
    few = torch.tensor([NAN, inf, -inf, 3e38, -3e38, 0.0, 90.0])
    scores, classes = torch.cartesian_prod(few, few, few), 3
    for target in range(classes):
        targets, out = torch.full((len(scores),), target), torch.empty(len(scores))
        cross_entropy._into(out, targets=targets[None])(scores.t().contiguous() if is_turned else scores.t())
        expected = F.cross_entropy(scores, targets, reduction="none")
        torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6, equal_nan=True)
