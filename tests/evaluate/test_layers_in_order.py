"""Blocks that move one layer each, in order: what one has computed leads to the next."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from slicer_core import ModelWrapper
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.shortage import MemoryShortageError
from slicer_core.evaluate.strategies import LoopKernel, PartialKernel, Session, Traces
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch

SAMPLES, WIDTHS = 9, (4, 80, 70, 5)
Aten = torch.ops.aten


class Products(TorchDispatchMode):
    """The number of columns of each matrix product's first factor."""

    def __init__(self) -> None:
        super().__init__()
        self.widths: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (Aten.addmm, Aten.mm):
            rows: Tensor = args[1] if func.overloadpacket is Aten.addmm else args[0]
            self.widths.append(rows.shape[1])
        return func(*args, **(kwargs or {}))


def products_of_blocks(*names: str) -> list[list[int]]:
    """The products of each block that moves one of the weights, one block after another; each agrees with the loop."""
    layers = [nn.Linear(*pair) for pair in itertools.pairwise(WIDTHS)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    inputs, target = torch.randn(SAMPLES, WIDTHS[0]), torch.randint(0, WIDTHS[-1], (SAMPLES,))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target))
    objective, state, session = Objective(wrapper), wrapper.state(), Session(Traces())
    batch, found = Batch(data=(inputs, target), num_samples=SAMPLES), []
    for name in names:
        directions = ({name: torch.randn_like(state[name])},)
        block = PointBlock(directions=lambda found=directions: found, coefficients=np.array([[0.4], [-1.2]]))
        kernel = PartialKernel(objective, state, block, session=session)
        with wrapper.evaluating():
            # The capture is a pass of its own.
            session.traces.tracer.trace(objective, kernel.held, session.laid_out(batch, objective))
            with Products() as products:
                ours = kernel.terms(batch, slice(0, 2))
            expected = LoopKernel(objective, state, block).terms(batch, slice(0, 2))
        torch.testing.assert_close(ours["loss"][0], expected["loss"][0], rtol=1e-5, atol=1e-6)
        found.append(products.widths)
    return found


def test_a_layer_that_has_moved_is_not_run_again_for_the_next() -> None:
    for number, widths in enumerate(products_of_blocks("0.weight", "2.weight", "4.weight")):
        assert not set(WIDTHS[:number]) & set(widths)
        assert WIDTHS[number] in widths


def test_a_layer_that_led_to_a_later_one_is_not_run_again_at_the_center() -> None:
    alone, *_ = products_of_blocks("0.weight")
    _, after = products_of_blocks("4.weight", "0.weight")
    assert after.count(WIDTHS[0]) == alone.count(WIDTHS[0]) - 1 > 0


def test_what_is_kept_for_later_blocks_has_what_the_budget_leaves() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    inputs, target = torch.randn(SAMPLES, 6), torch.randint(0, 4, (SAMPLES,))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target))
    objective, state, batch = Objective(wrapper), wrapper.state(), Batch(data=(inputs, target), num_samples=SAMPLES)
    directions = ({"2.weight": torch.randn_like(state["2.weight"])},)
    block = PointBlock(directions=lambda: directions, coefficients=np.array([[0.4], [-1.2]]))

    def run(memory_budget: int) -> tuple[int, Tensor]:
        session = Session(Traces())
        kernel = PartialKernel(objective, state, block, session=session, memory_budget=memory_budget)
        with wrapper.evaluating():
            terms = kernel.terms(batch, slice(0, 2))["loss"][0]
        return session.kept_bytes(), terms

    # The scores, of which the block has two components, a row's part and the point.
    combined = 4 * 4 * SAMPLES * 4
    kept, expected = run(sys.maxsize)
    assert kept > 0
    for half, there in ((kept, kept), (kept - 1, 0)):
        found, terms = run(combined + 2 * half)
        assert found == there
        assert torch.equal(terms, expected)
    with pytest.raises(MemoryShortageError):
        run(combined - 1)
