"""Sums and activations that are done where a convolution by tiles writes what it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate import epilogue, tiled

Body = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """Two convolutions by tiles, and what a body makes of them."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body
        self.stem, self.point = nn.Conv2d(2, 32, 1), nn.Conv2d(32, 32, 1)
        self.first, self.second = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.head = nn.Linear(32, 3)
        self.register_buffer("still", torch.randn(6, 32, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self, self.stem(x).relu()).tanh().mean((2, 3)))


def both(net: Net, x: Tensor) -> Tensor:
    y = net.first(x)
    return y.relu() + y


def reused(net: Net, x: Tensor) -> Tensor:
    y = net.first(x) + x
    return net.second(y.relu()) + y


def in_place(net: Net, x: Tensor) -> Tensor:
    y = net.first(x).relu_()
    y = net.second(y)
    y += x
    return y.relu_().mul_(x)


# What there is -> for each convolution by tiles, what is added where it writes, and whether a ReLU is done there.
CASES: dict[str, tuple[Body, list[tuple[bool, bool]]]] = {
    "a ReLU": (lambda net, x: net.first(x).relu(), [(False, True)]),
    "a sum": (lambda net, x: net.first(x) + x, [(True, False)]),
    "a sum the other way round": (lambda net, x: (x + net.first(x)).relu(), [(True, True)]),
    "in place": (in_place, [(False, True), (True, True)]),
    "a block": (lambda net, x: (net.second(net.first(x).relu()) + x).relu(), [(False, True), (True, True)]),
    "one of the other": (lambda net, x: (net.second(x) + net.first(x)).relu(), [(False, False), (True, True)]),
    "what does not move": (lambda net, x: net.first(x) + net.still, [(True, False)]),
    "two sums": (lambda net, x: (net.first(x) + x + x.tanh()).relu(), [(True, False)]),
    "a sum after the ReLU": (lambda net, x: net.first(x).relu() + x, [(False, True)]),
    "read twice": (both, [(False, False)]),
    "the sum is read twice": (reused, [(True, False), (True, False)]),
    "with itself": (lambda net, x: (y := net.first(x)) + y, [(False, False)]),
    "a multiple": (lambda net, x: torch.add(net.first(x), x, alpha=2), [(False, False)]),
    "a number": (lambda net, x: (net.first(x) + 1.5).relu(), [(False, False)]),
    "of another shape": (lambda net, x: x.mean((2, 3), keepdim=True) + net.first(x), [(False, False)]),
    "what comes later": (lambda net, x: net.first(x) + net.point(x), [(False, False)]),
    "another activation": (lambda net, x: net.first(x).sigmoid(), [(False, False)]),
}


@pytest.mark.parametrize("case", CASES)
def test_they_are_done_once_and_give_the_loops_numbers(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, tuple[bool, bool]]] = []

    class Noted(epilogue._Plan):
        def source(self) -> Any:
            made = super().source()
            seen.append(
                {node.name: (tail.added is not None, tail.activation == "relu") for node, tail in self._tails.items()}
            )
            return made

    monkeypatch.setattr(epilogue, "_Plan", Noted)
    monkeypatch.setattr(tiled, "_MIN_TILES", 1)
    monkeypatch.setattr(tiled, "saves_products", lambda shape: True)
    body, expected = CASES[case]
    wrapper = ModelWrapper(Net(body), nn.CrossEntropyLoss(), (torch.randn(6, 2, 8, 8), torch.arange(6) % 3))

    def plane(strategy: Any) -> Any:
        slicer = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(strategy=strategy), progress=False)
        return slicer.slice_2d(grid_size=(3, 4), seed=3)

    found = plane("partial-winograd")
    assert found.evaluation["strategy"] == "partial-winograd", found.evaluation.get("reason")
    np.testing.assert_allclose(found.loss, plane("loop").loss, rtol=1e-5)
    assert list(seen[-1].values()) == expected
