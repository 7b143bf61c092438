"""c₀ + Σ αⱼ cⱼ in buffers that are kept, in the components' precision and rounded once."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from slicer_core import ModelWrapper
from slicer_core.evaluate import combine, cut
from slicer_core.evaluate.clock import clock
from slicer_core.evaluate.combine import Combiner
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.part_sizes import part_limits, part_sizes
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch

ROWS = [0.25, 0.25, -1.5]


def components(count: int) -> dict[fx.Node, tuple[Tensor, ...]]:
    graph = fx.Graph()
    shapes = {"a": (3, 4), "b": (5,), "c": (2, 3, 2)}
    return {graph.placeholder(name): tuple(torch.randn(shape) for _ in range(count)) for name, shape in shapes.items()}


def expected(parts: tuple[Tensor, ...], coefficients: list[float], dtype: torch.dtype) -> Tensor:
    total = parts[0]
    for coefficient, part in zip(coefficients, parts[1:], strict=True):
        total = torch.add(total, part, alpha=coefficient)
    return total.to(dtype)


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("num_directions", [1, 2, 3])
@pytest.mark.parametrize("devices", [(), ("cpu",)], ids=["apart", "as it is written"])
def test_a_point_is_summed_in_float32_and_rounded_once(
    devices: tuple[str, ...], num_directions: int, dtype: torch.dtype, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(combine, "_ROUND_AS_THEY_WRITE", devices)
    if is_large:
        monkeypatch.setattr(combine, "_LARGE_BYTES", 1)
    first = components(num_directions + 1)
    second = {node: tuple(part + 1 for part in parts) for node, parts in first.items()}
    combiner = Combiner(first, num_directions, dtypes=dict.fromkeys(first, dtype))
    for given in (first, second):
        if given is second:
            combiner.load(second)
        for step, row in enumerate(ROWS):
            coefficients = [*[row] * (num_directions - 1), 0.5 * step - 0.3]
            combiner.move_to(coefficients)
            for node, parts in given.items():
                assert combiner.views[node].dtype == dtype
                assert torch.equal(combiner.views[node], expected(parts, coefficients, dtype))


def test_time_is_taken_when_a_device_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    cut._seconds(lambda: None, torch.device("cpu"))
    assert waited == []
    assert clock(torch.device("cuda", 0)) <= clock(torch.device("cpu"))
    assert waited == [torch.device("cuda", 0)]


def test_parts_of_a_batch_on_a_gpu_fit_its_cache_or_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(L2_cache_size=50 * 2**20)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    whole, cached = part_limits(torch.device("cuda"))
    assert (whole > 2**60, cached) == (True, 25 * 2**20)
    assert len(part_limits(torch.device("mps"))) == 1


@pytest.mark.parametrize(
    ("num_samples", "wanted", "expected"),
    [
        (256, 20, 32),
        (96, 18, 24),
        (50, 24, 25),
        (100, 20, 20),
        (257, 20, 20),
        (10_000, 2_560, 2_500),
        (39, 20, sys.maxsize),
    ],
)
def test_a_batch_is_cut_into_parts_of_one_size_where_it_can_be(
    num_samples: int, wanted: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slicer_core.evaluate.part_sizes.part_limits", lambda device: (wanted,))
    monkeypatch.setattr("slicer_core.evaluate.part_sizes.bytes_a_sample", lambda objective, state, batch: 1)
    data = (torch.zeros(num_samples, 3), torch.zeros(num_samples, dtype=torch.int64))
    wrapper = ModelWrapper(nn.Linear(3, 2), nn.CrossEntropyLoss(), data)
    batch = Batch(data=data, num_samples=num_samples)
    assert part_sizes(Objective(wrapper), wrapper.state(), batch) == [expected]


def test_the_last_blocks_directions_stay_on_a_device_of_its_own_memory() -> None:
    made: list[int] = []

    def block(number: int) -> PointBlock:
        def directions() -> tuple[dict[str, Tensor], ...]:
            made.append(number)
            return ({"weight": torch.ones(3, 2)},)

        return PointBlock(directions=directions, coefficients=np.zeros((1, 1)))

    wrapper = ModelWrapper(nn.Linear(2, 3).to("meta"), nn.CrossEntropyLoss(), (torch.ones(1, 2), torch.zeros(1)))
    objective = Objective(wrapper)
    first, second = block(1), block(2)
    for given in (first, first, second, second, first):
        assert objective.directions_of(given)[0]["weight"].device.type == "meta"
    assert made == [1, 2, 1]


def test_what_computes_the_loss_moves_with_the_model() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(1))

        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            return self.scale * (output[:, 0] - target)

    metric, whole = Scaled(), Scaled()
    data = (torch.ones(4, 2), torch.zeros(4))
    ModelWrapper(nn.Linear(2, 3), nn.CrossEntropyLoss(), data, metrics={"scaled": metric}).to("meta")
    ModelWrapper(nn.Linear(2, 3), train_data=[data], batch_loss=whole).to("meta")
    assert metric.scale.is_meta
    assert whole.scale.is_meta
