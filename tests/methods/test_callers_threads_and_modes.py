"""Slices below a caller's `inference_mode`, of tensors made there, and from several threads at once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from slicer_core import (
    EvaluationSettings,
    HessianSlicer,
    LinearInterpolationSlicer,
    ModelWrapper,
    PlaneSlicer,
    RandomDirectionSlicer,
    Slice,
)

Take = Callable[[ModelWrapper], Slice]
# Trials may choose another one the second time.
LOOP = EvaluationSettings(strategy="loop")


def wrapped(network, *, of_model: bool = False, of_data: bool = False) -> ModelWrapper:
    """`of_model`, `of_data`: made in inference mode."""
    with torch.inference_mode(of_model):
        model = network("mlp").model
    net = network("mlp")
    with torch.inference_mode(of_data):
        data = net.inputs.clone(), net.classes.clone()
    return ModelWrapper(model, nn.CrossEntropyLoss(), data)


def random(wrapper: ModelWrapper, strategy: str = "loop", seed: int = 0) -> Slice:
    settings = EvaluationSettings(strategy=strategy)
    return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_2d(grid_size=3, seed=seed)


def plane(wrapper: ModelWrapper) -> Slice:
    corners = [wrapper.get_random_parameters(0.1, seed=seed) for seed in range(3)]
    return PlaneSlicer(wrapper, settings=LOOP, progress=False).slice(*corners, grid_size=4)


def line(wrapper: ModelWrapper) -> Slice:
    end = wrapper.get_random_parameters(0.1, seed=1)
    return LinearInterpolationSlicer(wrapper, settings=LOOP, progress=False).slice(None, end, n_samples=5)


TAKES: dict[str, Take] = {
    "loop": random,
    "partial": lambda wrapper: random(wrapper, "partial"),
    "streaming": lambda wrapper: random(wrapper, "streaming"),
    "hessian": lambda wrapper: HessianSlicer(wrapper, settings=LOOP, progress=False).slice_1d(n_samples=3),
    "plane": plane,
    "line": line,
}


def same(found: np.ndarray, expected: np.ndarray) -> None:
    """But for last digits: in which layout `partial` combines is found by timing, each time anew."""
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
def test_inference_mode_of_the_caller_changes_nothing(network, take: Take) -> None:
    expected = take(wrapped(network)).loss
    with torch.inference_mode():
        found = take(wrapped(network)).loss
        assert torch.is_inference_mode_enabled()
    same(found, expected)


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
def test_a_model_and_data_made_in_inference_mode_are_like_others(network, take: Take) -> None:
    wrapper = wrapped(network, of_model=True, of_data=True)
    before = {name: tensor.clone() for name, tensor in wrapper.model.state_dict().items()}
    same(take(wrapper).loss, take(wrapped(network)).loss)
    after = wrapper.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_gradients_that_the_caller_switched_off_stay_off(network) -> None:
    with torch.no_grad():
        random(wrapped(network))
        assert not torch.is_grad_enabled()


def test_threads_that_slice_one_model_wait_for_one_another(network) -> None:
    class Watched(nn.Module):
        """Knows of passes that come from two threads in turns, while one of them is at work."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = network("mlp").model

        def forward(self, inputs):
            threads.append(threading.get_ident())
            turn.wait(0.002)
            return self.inner(inputs)

    threads: list[int] = []
    turn = threading.Event()
    model, net = Watched(), network("mlp")

    def take(seed: int) -> np.ndarray:
        return random(ModelWrapper(model, nn.CrossEntropyLoss(), net.data), seed=seed).loss

    expected = {seed: take(seed) for seed in range(2)}
    threads.clear()
    found: dict[int, np.ndarray] = {}
    at_work = [threading.Thread(target=lambda seed=seed: found.update({seed: take(seed)})) for seed in range(2)]
    for each in at_work:
        each.start()
    for each in at_work:
        each.join()
    assert sum(one != other for one, other in itertools.pairwise(threads)) == 1
    for seed in range(2):
        np.testing.assert_array_equal(found[seed], expected[seed])
