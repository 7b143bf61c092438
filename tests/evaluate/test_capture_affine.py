"""Operations that are claimed to be affine: whatever their shapes and options, their components give their values.

Each is traced alone, and held at a random point against itself for every subset of its operands that moves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

from slicer_core.evaluate.partition import partition
from slicer_core.evaluate.prologue import affine_components, call, center_values
from slicer_core.evaluate.trace import Trace
from slicer_core.subject import Batch

NAMES = "abcde"
# Pairs that broadcast.
SHAPES = [
    ((), ()), ((3,), ()), ((), (2, 3)), ((2, 3), (3,)), ((3,), (2, 3)), ((2, 1), (1, 3)), ((2, 3), (2, 3)),
    ((4, 2, 3), (2, 1)), ((1,), (4, 2, 3)), ((4, 1, 3), (2, 3)),
]  # fmt: skip
PRODUCTS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((3,), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)), ((1, 2, 3), (5, 3, 1)), ((2, 5, 2, 3), (5, 3, 4)), ((2, 1, 2, 3), (1, 5, 3, 4)),
]  # fmt: skip
IMAGE, CUBE = (2, 4, 5, 6), (2, 3, 4)


@dataclass(frozen=True)
class Case:
    """A function of operands, and the sets of them that it is affine in; `{}` stands for none."""

    function: Callable[..., Tensor]
    shapes: tuple[tuple[int, ...], ...]
    affine: Sequence[set[str]]


def scaled(binary: Callable[..., Tensor], alpha: float) -> Callable[..., Tensor]:
    return lambda a, b: binary(a, b, alpha=alpha)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the rows of the table leave open."""

    alpha: float = -2
    keep: bool = False
    dim: int = 1
    pair: tuple[tuple[int, ...], tuple[int, ...]] = SHAPES[5]
    product: tuple[tuple[int, ...], tuple[int, ...]] = PRODUCTS[3]
    groups: int = 1


OPTIONS = st.builds(
    Options,
    alpha=st.sampled_from([1, -2, 0.5]),
    keep=st.booleans(),
    dim=st.sampled_from([0, 1, 2, -1]),
    pair=st.sampled_from(SHAPES),
    product=st.sampled_from(PRODUCTS),
    groups=st.sampled_from([1, 2]),
)


def table(options: Options) -> dict[str, Case]:
    """Name -> an operation with these options."""
    alpha, keep, dim, pair, product, groups = vars(options).values()
    mask = torch.arange(24).reshape(CUBE) % 3 == 0
    index = torch.tensor([2, 0, 2])
    same = (CUBE, CUBE)
    return {
        "add": Case(scaled(torch.add, alpha), pair, [{"a", "b"}]),
        "sub": Case(scaled(torch.sub, alpha), pair, [{"a", "b"}]),
        "rsub": Case(scaled(torch.rsub, alpha), pair, [{"a", "b"}]),
        "add a number": Case(lambda a: 3 - alpha * a + 1, (pair[0],), [{"a"}]),
        "mul": Case(torch.mul, pair, [{"a"}, {"b"}]),
        "square by mul": Case(lambda a: a * a, (pair[0],), []),
        "div": Case(lambda a, b: a / b, pair, [{"a"}]),
        "div by a number": Case(lambda a: a / 3, (pair[0],), [{"a"}]),
        "div rounded": Case(lambda a, b: torch.div(a, b, rounding_mode="floor"), pair, []),
        "pow": Case(lambda a: a**2, (pair[0],), []),
        "lerp": Case(torch.lerp, (CUBE, CUBE, CUBE), [{"a", "b"}, {"c"}]),
        "addcmul": Case(lambda a, b, c: torch.addcmul(a, b, c, value=alpha), (CUBE, *same), [{"a", "b"}, {"a", "c"}]),
        "addcdiv": Case(lambda a, b, c: torch.addcdiv(a, b, c, value=alpha), (CUBE, *same), [{"a", "b"}]),
        "half precision": Case(lambda a, b: (a.bfloat16() + b.bfloat16()).double(), pair, []),
        "wider": Case(lambda a, b: a.double() * b, pair, [{"a"}, {"b"}]),
        "times integers": Case(lambda a: a * torch.arange(4), (CUBE,), [{"a"}]),
        "matmul": Case(torch.matmul, product, [{"a"}, {"b"}]),
        "matmul of itself": Case(lambda a: a @ a.mT, ((2, 3),), []),
        "einsum": Case(lambda a, b: torch.einsum("bij,bjk->bik", a, b), ((2, 3, 4), (2, 4, 5)), [{"a"}, {"b"}]),
        "einsum of itself": Case(lambda a: torch.einsum("bij,bij->b", a, a), (CUBE,), []),
        "outer": Case(torch.outer, ((3,), (4,)), [{"a"}, {"b"}]),
        "dot": Case(torch.dot, ((3,), (3,)), [{"a"}, {"b"}]),
        "bmm": Case(torch.bmm, ((2, 3, 4), (2, 4, 5)), [{"a"}, {"b"}]),
        "addmm": Case(
            lambda a, b, c: torch.addmm(a, b, c, beta=alpha), ((5,), (2, 3), (3, 5)), [{"a", "b"}, {"a", "c"}]
        ),
        "baddbmm": Case(torch.baddbmm, ((2, 3, 5), (2, 3, 4), (2, 4, 5)), [{"a", "b"}, {"a", "c"}]),
        "linear": Case(F.linear, (CUBE, (5, 4), (5,)), [{"a", "c"}, {"b", "c"}]),
        "low rank": Case(
            lambda a, b, c, d: F.linear(a, b + 0.5 * (c @ d)),
            ((2, 4), (3, 4), (3, 2), (2, 4)),
            [{"b", "c"}, {"b", "d"}, {"a"}],
        ),
        "bilinear": Case(
            F.bilinear, ((2, 3), (2, 4), (5, 3, 4), (5,)), [{"a", "d"}, {"b", "d"}, {"c", "d"}]
        ),
        "convolution": Case(
            lambda a, b, c: F.conv2d(a, b, c, padding=1, stride=2, groups=groups),
            (IMAGE, (6, 4 // groups, 3, 3), (6,)),
            [{"a", "c"}, {"b", "c"}],
        ),
        "convolution of the same size": Case(
            lambda a, b: F.conv2d(a, b, padding="same"), (IMAGE, (3, 4, 3, 3)), [{"a"}, {"b"}]
        ),
        "convolution, one axis": Case(F.conv1d, ((2, 3, 6), (4, 3, 2), (4,)), [{"a", "c"}, {"b", "c"}]),
        "transposed convolution": Case(
            lambda a, b, c: F.conv_transpose2d(a, b, c, stride=2), (IMAGE, (4, 3, 2, 2), (3,)), [{"a", "c"}, {"b", "c"}]
        ),
        "embedding": Case(lambda a: F.embedding(index, a, padding_idx=0), ((3, 4),), [{"a"}]),
        "embedding bag": Case(
            lambda a: F.embedding_bag(index[None], a, mode="mean" if keep else "sum", padding_idx=0), ((3, 4),), [{"a"}]
        ),
        "weighted embedding bag": Case(
            lambda a, b: F.embedding_bag(index, a, index[1:2], per_sample_weights=b, mode="sum"),
            ((3, 4), (3,)),
            [{"a"}, {"b"}],
        ),
        "largest of an embedding bag": Case(
            lambda a: F.embedding_bag(torch.cat([index, index + 1])[None], a, mode="max"), ((4, 4),), []
        ),
        "index": Case(lambda a: a[:, index], (CUBE,), [{"a"}]),
        "gather": Case(lambda a: a.gather(2, mask.long()), (CUBE,), [{"a"}]),
        "index_put": Case(
            lambda a, b: a.index_put((index[:2],), b, accumulate=keep), ((3, 4), (2, 4)), [{"a", "b"}]
        ),
        "index_add": Case(lambda a, b: a.index_add(0, index, b), ((3, 4), (3, 4)), [{"a", "b"}]),
        "scatter": Case(lambda a, b: a.scatter(0, mask.long(), b), same, [{"a", "b"}]),
        "reduced by scatter": Case(
            lambda a, b: a.scatter_reduce(0, mask.long(), b, "mean", include_self=keep), same, [{"a", "b"}]
        ),
        "messages summed up": Case(lambda a: torch.zeros_like(a).index_add(1, index, a), (CUBE,), [{"a"}]),
        "beside new tensors": Case(
            lambda a: a.new_zeros(3, 4) + a[0] * a.new_ones(4) - torch.ones_like(a[0]), (CUBE,), [{"a"}]
        ),
        "largest by scatter": Case(lambda a, b: a.scatter_reduce(0, mask.long(), b, "amax"), same, []),
        "select_scatter": Case(lambda a, b: a.select_scatter(b, 0, 1), (CUBE, CUBE[1:]), [{"a", "b"}]),
        "where": Case(lambda a, b: torch.where(mask, a, b), same, [{"a", "b"}]),
        "where it moves": Case(lambda a, b: torch.where(a > 0, a, b), same, [{"b"}]),
        "masked_fill": Case(lambda a, b: a.masked_fill(mask, b), (CUBE, ()), [{"a", "b"}]),
        "cat": Case(lambda a, b: torch.cat([a, torch.ones(CUBE), b], dim=dim), same, [{"a", "b"}]),
        "stack": Case(lambda a, b: torch.stack([a, b], dim=dim), same, [{"a", "b"}]),
        "sum": Case(lambda a: a.sum(dim=dim, keepdim=keep), (CUBE,), [{"a"}]),
        "mean": Case(lambda a: a.mean(dim=dim, keepdim=keep), (CUBE,), [{"a"}]),
        "mean of all": Case(lambda a: a.mean(), (CUBE,), [{"a"}]),
        "variance": Case(lambda a: a.var(dim=dim, keepdim=keep), (CUBE,), []),
        "maximum": Case(lambda a: a.amax(dim=dim, keepdim=keep), (CUBE,), []),
        "cumsum": Case(lambda a: a.cumsum(dim), (CUBE,), [{"a"}]),
        "softmax": Case(lambda a: a.softmax(dim), (CUBE,), []),
        "views": Case(
            lambda a: a.transpose(0, dim).reshape(-1, 2).unsqueeze(1).expand(-1, 3, -1).flatten(1), (CUBE,), [{"a"}]
        ),
        "expand_as": Case(lambda a, b: a.expand_as(b) + 0 * b, ((4,), CUBE), [{"a", "b"}]),
        "permuted": Case(lambda a: a.permute(2, 0, 1).contiguous().flip(0).roll(1, 1), (CUBE,), [{"a"}]),
        "parts": Case(lambda a: a.chunk(2, dim=1)[0] + a.split([1, 2], dim=1)[0], ((2, 3, 4),), [{"a"}]),
        "one part": Case(lambda a: a.chunk(2, dim=2)[1], (CUBE,), [{"a"}]),
        "triangle": Case(lambda a: torch.tril(a).diagonal(dim1=1, dim2=2), (CUBE,), [{"a"}]),
        "repeated": Case(lambda a: a.repeat(2, 1, 1).repeat_interleave(2, dim=0), (CUBE,), [{"a"}]),
        "padded": Case(
            lambda a: F.pad(a, (1, 1, 1, 0), mode="reflect" if keep else "constant"), (IMAGE,), [{"a"}]
        ),
        "pixel_shuffle": Case(lambda a: F.pixel_shuffle(a, 2), (IMAGE,), [{"a"}]),
        "unfold": Case(lambda a: F.unfold(a, 2), (IMAGE,), [{"a"}]),
        "max_pool": Case(lambda a: F.max_pool2d(a, 2), (IMAGE,), []),
        "avg_pool": Case(lambda a: F.avg_pool2d(a, 2, count_include_pad=keep, padding=1), (IMAGE,), [{"a"}]),
        "adaptive_avg_pool": Case(lambda a: F.adaptive_avg_pool2d(a, (2, 3)), (IMAGE,), [{"a"}]),
        "interpolate": Case(
            lambda a: F.interpolate(a, scale_factor=2, mode="bilinear", align_corners=keep), (IMAGE,), [{"a"}]
        ),
        "interpolate to the nearest": Case(lambda a: F.interpolate(a, scale_factor=2), (IMAGE,), [{"a"}]),
        "dropout that is off": Case(lambda a: F.dropout(a, 0.5, training=False), (CUBE,), [{"a"}]),
        "layer_norm": Case(lambda a, b, c: F.layer_norm(a, (4,), b, c), (CUBE, (4,), (4,)), [{"b", "c"}]),
        "rms_norm": Case(lambda a, b: F.rms_norm(a, (4,), b), (CUBE, (4,)), [{"b"}]),
        "group_norm": Case(lambda a, b, c: F.group_norm(a, 2, b, c), (IMAGE, (4,), (4,)), [{"b", "c"}]),
        "batch_norm": Case(
            lambda a, b, c, d, e: F.batch_norm(a, b, 1 + e.detach().abs(), c, d),
            (IMAGE, (4,), (4,), (4,), (4,)),
            [{"a", "b", "d"}, {"c", "d"}],
        ),
        "batch_norm of the batch": Case(
            lambda a, b, c: F.batch_norm(a, None, None, b, c, training=True), (IMAGE, (4,), (4,)), [{"b", "c"}]
        ),
        "instance_norm": Case(
            lambda a, b, c: F.instance_norm(a, None, None, b, c), (IMAGE, (4,), (4,)), [{"b", "c"}]
        ),
        "weight norm": Case(lambda a, b: torch.ops.aten._weight_norm(a, b, 0), ((3, 4), (3, 1)), [{"b"}]),
        "attention": Case(F.scaled_dot_product_attention, (CUBE, CUBE, CUBE), [{"c"}]),
        "relu": Case(torch.relu, (CUBE,), []),
    }  # fmt: skip


def traced(case: Case, operands: Sequence[Tensor]) -> Trace:
    graph = make_fx(case.function, pre_dispatch=True)(*operands)
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    nodes = tuple(node for node in graph.graph.nodes if node.op == "call_function")
    constants = {node: getattr(graph, str(node.target)) for node in graph.graph.nodes if node.op == "get_attr"}
    return Trace(
        nodes=nodes,
        states=dict(zip(NAMES, placeholders, strict=False)),
        leaves=(),
        constants=constants,
        outputs={"loss": (output.args[0], output.args[0])},
    )


def value_at(trace: Trace, moving: set[str], center: dict[str, Tensor], steps: list[dict[str, Tensor]]) -> Any:
    """The result at center + 0.3·first - 0.7·second by components, and by running what is general; and its class."""
    parts = partition(trace, moving)
    constants = center_values(trace, center, Batch(data=(), num_samples=1), parts.constants)
    # A claim that is wrong raises here.
    components = affine_components(trace, parts, constants, center, steps, checked=True, still={})
    values: dict[Any, Any] = dict(constants)
    for node in parts.frontier:
        first, *others = components[node]
        values[node] = first + sum(weight * part for weight, part in zip((0.3, -0.7), others, strict=True))
    for node in parts.general:
        values[node] = call(node, values.__getitem__)
    (result, _) = trace.outputs["loss"]
    return values[result], parts.kind(result)


@pytest.mark.parametrize("name", table(Options()))
@given(options=OPTIONS)
@settings(max_examples=4, deadline=None, derandomize=True)
def test_every_subset_of_operands_gives_the_operations_own_value(name: str, options: Options) -> None:
    case = table(options)[name]
    torch.manual_seed(len(name))
    operands = [torch.randn(shape, dtype=torch.float64) for shape in case.shapes]
    center = dict(zip(NAMES, operands, strict=False))
    with torch.no_grad():
        trace = traced(case, operands)
        for size in range(1, len(operands) + 1):
            for chosen in itertools.combinations(center, size):
                moving = set(chosen)
                steps = [{key: torch.randn_like(center[key]) for key in chosen} for _ in range(2)]
                point = {
                    key: tensor + 0.3 * steps[0][key] - 0.7 * steps[1][key] if key in moving else tensor
                    for key, tensor in center.items()
                }
                found, kind = value_at(trace, moving, center, steps)
                torch.testing.assert_close(found, case.function(*point.values()), rtol=1e-9, atol=1e-9)
                expected = any(moving <= group for group in case.affine)
                assert (kind == "affine") == expected, (name, chosen, kind)
