"""Affine operations where what moves is zero: what stands still of them is had without their arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch.utils.flop_counter import FlopCounterMode

from slicer_core.evaluate.finite import is_finite
from slicer_core.evaluate.origin import value_at_origin

Aten = torch.ops.aten
MATRICES, CUBES = ((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5))
IMAGES, FILTERS = (2, 4, 6, 6), (5, 4, 3, 3)
PLACES = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)


def called(operation: Any, shapes: Any, *others: Any, **options: Any) -> tuple[fx.Node, dict[fx.Node, Tensor]]:
    """A call of the operation on tensors of these shapes, and their values."""
    graph = fx.Graph()
    values = {graph.placeholder(f"given_{index}"): torch.randn(shape) for index, shape in enumerate(shapes)}
    return graph.call_function(operation, (*values, *others), options), values


def run(node: fx.Node, values: dict[fx.Node, Tensor]) -> Tensor:
    return node.target(*fx.map_arg(node.args, values.__getitem__), **fx.map_arg(node.kwargs, values.__getitem__))


@pytest.mark.parametrize(
    ("operation", "shapes", "others", "options", "moving"),
    [
        (Aten.mm.default, MATRICES, (), {}, {1}),
        (Aten.mm.default, MATRICES, (), {}, {0}),
        (Aten.bmm.default, CUBES, (), {}, {1}),
        (Aten.addmm.default, ((5,), *MATRICES), (), {"beta": 0.5, "alpha": -2}, {2}),
        (Aten.addmm.default, ((5,), *MATRICES), (), {"beta": 0.5, "alpha": -2}, {0, 1}),
        (Aten.baddbmm.default, ((2, 3, 5), *CUBES), (), {"beta": -3}, {2}),
        (Aten.linear.default, ((2, 3, 4), (5, 4)), (), {}, {1}),
        (Aten.linear.default, ((2, 3, 4), (5, 4), (5,)), (), {}, {1}),
        (Aten.convolution.default, (IMAGES, FILTERS), (None, *PLACES), {}, {1}),
        (Aten.convolution.default, (IMAGES, FILTERS, (5,)), PLACES, {}, {1, 2}),
    ],
)
def test_a_product_with_zeros_is_had_without_multiplying(
    operation: Any, shapes: Any, others: Any, options: Any, moving: set[int]
) -> None:
    node, values = called(operation, shapes, *others, **options)
    moved = {entry for index, entry in enumerate(values) if index in moving}
    zeros = {entry: torch.zeros_like(value) if entry in moved else value for entry, value in values.items()}
    expected, center = run(node, zeros), run(node, values)
    with FlopCounterMode(display=False) as counter:
        found = value_at_origin(node, moved, zeros.__getitem__, center)
    assert counter.get_total_flops() == 0
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("entry", [float("inf"), float("nan")])
def test_what_is_not_finite_times_zero_is_not_taken_for_zero(entry: float) -> None:
    node, values = called(Aten.mm.default, MATRICES)
    still, moved = values
    values[still][1, 2] = entry
    assert value_at_origin(node, {moved}, values.__getitem__, run(node, values)) is None


@pytest.mark.parametrize(
    ("operation", "shapes", "others", "moving"),
    [
        # No product moves, or what else is there stands still.
        (Aten.addmm.default, ((5,), *MATRICES), (), {0}),
        (Aten.convolution.default, (IMAGES, FILTERS, (5,)), PLACES, {1}),
        (Aten.add.Tensor, ((3, 4), (3, 4)), (), {0}),
    ],
)
def test_other_operations_are_run(operation: Any, shapes: Any, others: Any, moving: set[int]) -> None:
    node, values = called(operation, shapes, *others)
    moved = {entry for index, entry in enumerate(values) if index in moving}
    assert value_at_origin(node, moved, values.__getitem__, run(node, values)) is None


@pytest.mark.parametrize(
    ("values", "finite"),
    [
        (torch.tensor([1.0, -2.0]), True),
        (torch.tensor([1.0, float("nan")]), False),
        (torch.tensor([float("inf"), -float("inf")]), False),
        # The sum of these is infinite.
        (torch.full((2,), 3e38), True),
        (torch.tensor([1, 2]), True),
        (torch.tensor([1 + 2j, complex(0, float("inf"))]), False),
        (torch.empty(0), True),
    ],
)
def test_numbers_are_finite_whatever_they_add_up_to(values: Tensor, finite: bool) -> None:
    assert is_finite(values) is finite
