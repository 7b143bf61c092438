"""A graph of a model's loss, and the partial evaluator beside the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import ModelWrapper
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.strategies import LoopKernel, PartialKernel
from slicer_core.evaluate.trace import Trace, Tracer
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch

POINTS = np.array([(0.3, -0.2), (0.3, 0.9), (-0.7, 0.1), (0.0, 0.0)])


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A wrapper and one batch of its data."""

    wrapper: ModelWrapper
    objective: Objective
    batch: Batch

    def trace(self) -> Trace:
        """What the capture makes of it."""
        with self.wrapper.evaluating():
            return Tracer(closed_sizes=0).trace(self.objective, self.wrapper.state(), self.batch)

    def kernels(self, names: Sequence[str], points: np.ndarray = POINTS) -> tuple[PartialKernel, LoopKernel]:
        """Both for random directions in the named tensors."""
        state = self.wrapper.state()
        directions = tuple({name: torch.randn_like(state[name]) for name in names} for _ in points[0])
        block = PointBlock(directions=lambda: directions, coefficients=points)
        return PartialKernel(self.objective, state, block), LoopKernel(self.objective, state, block)

    def assert_same(self, names: Sequence[str] | None = None) -> PartialKernel:
        """Both give the same terms of each sample, and the partial evaluator the same ones twice."""
        partial, loop = self.kernels(self.wrapper.varying_names() if names is None else names)
        with self.wrapper.evaluating():
            ours, expected = (kernel.terms(self.batch, slice(0, len(POINTS))) for kernel in (partial, loop))
            again = partial.terms(self.batch, slice(0, len(POINTS)))
        for name, (sums, counts) in expected.items():
            torch.testing.assert_close(ours[name][0], sums, rtol=1e-4, atol=1e-5)
            assert torch.equal(ours[name][1].expand_as(counts), counts)
            # A buffer that was overwritten too early would show the second time.
            assert torch.equal(again[name][0], ours[name][0])
        return partial


@pytest.fixture(scope="session")
def captured() -> Callable[..., Captured]:
    """Model, inputs, target (and loss) -> what is captured of them; the model is left in eval mode."""

    def build(model: nn.Module, inputs: Tensor, target: Tensor, loss: nn.Module | None = None) -> Captured:
        wrapper = ModelWrapper(model.eval(), loss or nn.CrossEntropyLoss(), (inputs, target))
        batch = Batch(data=(inputs, target), num_samples=len(inputs))
        return Captured(wrapper=wrapper, objective=Objective(wrapper), batch=batch)

    return build
