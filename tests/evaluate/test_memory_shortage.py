"""What does not fit the memory is run in smaller pieces, down to one sample, with the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import ResourceError

ALLOCATOR_FAILURE = "[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory"
GPU_FAILURES = (
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
)


class Hungry(nn.Module):
    """Fails as torch's allocator does once a call asks for more than `limit` samples."""

    def __init__(self, limit: int, failure: str = ALLOCATOR_FAILURE) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)
        self.limit, self.failure = limit, failure
        self.largest = 0

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > self.limit:
            raise RuntimeError(self.failure)
        self.largest = max(self.largest, x.shape[0])
        return self.layer(x)


def plane(model: nn.Module, data: Any, loss_fn: Any = None, **options: Any) -> Any:
    wrapper = ModelWrapper(model, loss_fn or nn.CrossEntropyLoss(), data)
    settings = EvaluationSettings(**options)
    return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_2d(grid_size=(3, 4))


@pytest.mark.parametrize(
    ("limit", "failure"),
    [(11, ALLOCATOR_FAILURE), (3, ALLOCATOR_FAILURE), (1, ALLOCATOR_FAILURE), *((3, text) for text in GPU_FAILURES)],
)
def test_a_batch_that_does_not_fit_is_run_in_parts(limit: int, failure: str, network: Callable[[str], Any]) -> None:
    net = network("mlp")
    model = Hungry(limit, failure)
    found = plane(model, net.data, strategy="loop")
    assert model.largest <= limit
    model.limit = 1000
    np.testing.assert_allclose(found.loss, plane(model, net.data, strategy="loop").loss, rtol=1e-6)


def test_a_sample_that_does_not_fit_is_an_error_that_says_what_to_do(network: Callable[[str], Any]) -> None:
    with pytest.raises(ResourceError, match="a batch of 1 samples does not fit the memory: give a smaller"):
        plane(Hungry(0), network("mlp").data, strategy="loop")


def test_a_batch_that_cannot_be_cut_is_an_error(network: Callable[[str], Any]) -> None:
    net = network("mlp")

    def own_mean(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, target)

    with pytest.raises(ResourceError, match="does not fit the memory"):
        plane(Hungry(5), net.data, lambda output, target: own_mean(output, target), strategy="loop")


def test_points_are_combined_for_as_many_samples_as_the_budget_holds(network: Callable[[str], Any]) -> None:
    """Two directions: five copies of 22 × 6 numbers and of the parameters after the first layer."""
    net = network("mlp")
    free = plane(net.model, net.data, strategy="partial")
    assert free.evaluation["strategy"] == "partial"
    for budget in (1_600, 1_000):
        tight = plane(net.model, net.data, strategy="partial", memory_budget=budget)
        assert tight.evaluation["strategy"] == "partial"
        np.testing.assert_allclose(tight.loss, free.loss, rtol=1e-6)


def test_where_nothing_can_be_kept_the_points_are_run_whole(network: Callable[[str], Any]) -> None:
    net = network("mlp")
    free = plane(net.model, net.data, strategy="loop")
    tight = plane(net.model, net.data, strategy="partial", memory_budget=100)
    np.testing.assert_allclose(tight.loss, free.loss, rtol=1e-6)
    assert "does not fit the memory" in tight.evaluation["reason"]


def test_trials_keep_to_the_budget_too() -> None:
    """Of 2,000 samples the hidden layer alone takes four times 3.2 MB."""
    model = nn.Sequential(nn.Linear(5, 400), nn.ReLU(), nn.Linear(400, 3))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (torch.randn(2000, 5), torch.randint(0, 3, (2000,))))

    def curve(**options: Any) -> Any:
        settings = EvaluationSettings(batch_size=2000, repeats=100, **options)
        return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=40)

    tight = curve(memory_budget=4_000_000)
    assert any(label.startswith("partial, parts of ") for label in tight.evaluation["trials"])
    np.testing.assert_allclose(tight.loss, curve(strategy="loop").loss, rtol=1e-5)


@pytest.mark.parametrize("strategy", ["vmap", "partial-vmap"])
def test_a_chunk_that_does_not_fit_is_halved(
    strategy: Any, network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network("mlp")
    expected = plane(net.model, net.data, strategy=strategy)
    sizes: list[int] = []
    original = torch.vmap

    def scarce(function: Any) -> Any:
        run = original(function)

        def limited(*given: Any) -> Any:
            leaf = next(iter(given[0].values())) if isinstance(given[0], dict) else given[0]
            if len(leaf) > 2:
                raise RuntimeError(ALLOCATOR_FAILURE)
            sizes.append(len(leaf))
            return run(*given)

        return limited

    for module in ("vmap", "partial_vmap"):
        monkeypatch.setattr(f"slicer_core.evaluate.strategies.{module}.vmap", scarce)
    found = plane(net.model, net.data, strategy=strategy)
    assert found.evaluation["strategy"] == strategy
    assert max(sizes) == 2 or max(sizes) == 1
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-6)


def test_a_compiled_chunk_that_does_not_fit_is_halved_and_filled_no_further(
    network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network("mlp")
    expected = plane(net.model, net.data, strategy="partial-vmap")
    sizes: list[int] = []

    def scarce(function: Any) -> Any:
        def limited(*given: Any) -> Any:
            if len(given[0]) > 2:
                raise RuntimeError(ALLOCATOR_FAILURE)
            sizes.append(len(given[0]))
            return function(*given)

        return limited

    monkeypatch.setattr("torch.compile", scarce)
    found = plane(net.model, net.data, strategy="partial-vmap-compiled")
    assert found.evaluation["strategy"] == "partial-vmap-compiled"
    assert set(sizes) == {2}
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-6)
