"""Points written into the model's own tensors: the numbers of the loop, little memory, and nothing left behind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import (
    AxisParallelSlicer,
    EvaluationSettings,
    LinearInterpolationSlicer,
    ModelWrapper,
    RandomDirectionSlicer,
    parameters,
)
from slicer_core.errors import UsageError, UserCodeError
from slicer_core.evaluate import kept_elsewhere
from slicer_core.evaluate.strategies.streaming import should_stream
from slicer_core.methods.linear import Linear
from slicer_core.methods.method import SliceOptions
from slicer_core.methods.slicer import Slicer
from slicer_core.slices import Slice

STREAMING = EvaluationSettings(batch_size=7, strategy="streaming")
LOOP = EvaluationSettings(batch_size=7, strategy="loop")


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nothing may be left in the folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of more than five entries come in several blocks."""
    monkeypatch.setattr(parameters, "BLOCK_BYTES", 20)


def plane(wrapper: ModelWrapper, settings: EvaluationSettings, **options: Any) -> Slice:
    slicer = RandomDirectionSlicer(wrapper, settings=settings, progress=False)
    return slicer.slice_2d(grid_size=(3, 2), range=((0.0, 0.9), (-0.7, 0.4)), **options)


def line(wrapper: ModelWrapper, settings: EvaluationSettings, **_: Any) -> Slice:
    end = wrapper.get_random_parameters(0.4, seed=2)
    return LinearInterpolationSlicer(wrapper, settings=settings, progress=False).slice(end_point=end, n_samples=5)


def half_line(wrapper: ModelWrapper, settings: EvaluationSettings, **_: Any) -> Slice:
    """To a point that has one parameter only; the others stay."""
    name, tensor = next(iter(wrapper.get_random_parameters(0.4, seed=2).items()))
    slicer = LinearInterpolationSlicer(wrapper, settings=settings, progress=False)
    return slicer.slice(end_point={name: tensor}, n_samples=5)


def curves(wrapper: ModelWrapper, settings: EvaluationSettings, **_: Any) -> Slice:
    slicer = AxisParallelSlicer(wrapper, settings=settings, progress=False)
    return slicer.slice(n_samples=3, params_to_slice=[0, 5, 40])


def recomputed(wrapper: ModelWrapper, settings: EvaluationSettings, **_: Any) -> Slice:
    options = SliceOptions(grid=(4,), batchnorm="recompute")
    return Slicer(wrapper, settings=settings, progress=False).take("linear", Linear(to="random"), None, options)


SLICES = {"plane": plane, "line": line, "half_line": half_line, "curves": curves, "recomputed": recomputed}


def wrapped(net: Any, **options: Any) -> ModelWrapper:
    return ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data, **options)


def photograph(model: nn.Module) -> list[Any]:
    return [
        (name, id(t), t.data_ptr(), t._version, t.requires_grad, t.detach().numpy().tobytes())
        for name, t in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    ]


@pytest.mark.parametrize("name", ["convolution", "attention", "encoder", "weight_norm", "shared", "lstm"])
def test_the_plane_is_the_float64_loops(
    name, small_blocks, network, reference, plain_direction, close_to_float64
) -> None:
    net = network(name)
    before = photograph(net.model)
    found = plane(wrapped(net), STREAMING, seed=5)
    assert photograph(net.model) == before
    assert found.evaluation["strategy"] == "streaming"

    own = {key: parameter.detach() for key, parameter in net.model.named_parameters()}
    directions = [plain_direction(own, seed=5, axis=axis) for axis in (0, 1)]
    coefficients = [(a, b) for a in np.linspace(0, 0.9, 3) for b in np.linspace(-0.7, 0.4, 2)]
    expected = reference(net.model, nn.CrossEntropyLoss(), net.data).along(directions, coefficients)
    close_to_float64(found.loss, expected.reshape(3, 2))


@pytest.mark.parametrize("kind", SLICES)
@pytest.mark.parametrize("name", ["convolution", "attention"])
def test_every_array_and_figure_is_the_loops_bit_for_bit(kind, name, small_blocks, network) -> None:
    net = network(name)
    next(iter(net.model.parameters())).requires_grad_(kind != "plane")
    before = photograph(net.model)
    found = SLICES[kind](wrapped(net), STREAMING)
    assert photograph(net.model) == before
    expected = SLICES[kind](wrapped(net), LOOP)
    assert len(found.arrays) == len(expected.arrays)
    for ours, loops in zip(found.arrays, expected.arrays, strict=True):
        np.testing.assert_array_equal(ours.values, loops.values)
    assert found.center == expected.center
    assert found.directions == expected.directions
    assert found.cosine == expected.cosine
    assert found.markers == expected.markers
    assert found.curves == expected.curves


@pytest.mark.parametrize("normalize", ["filter", "layer", "weight", "dfilter", "dlayer", "none"])
@pytest.mark.parametrize("ignore", ["biasbn", "none", "li"])
def test_every_normalization_streams_the_same_numbers(normalize, ignore, small_blocks, network) -> None:
    net = network("convolution")
    options: dict[str, Any] = {"normalize": normalize, "ignore": ignore}
    found, expected = (plane(wrapped(net), settings, **options) for settings in (STREAMING, LOOP))
    np.testing.assert_array_equal(found.loss, expected.loss)
    assert found.directions == expected.directions


def test_another_point_and_another_dtype_leave_the_model_as_it_was(network) -> None:
    net = network("attention")
    before = photograph(net.model)
    slices = [
        RandomDirectionSlicer(
            wrapped(net),
            settings=EvaluationSettings(batch_size=7, strategy=strategy, dtype=torch.float64),
            progress=False,
        ).slice_1d(wrapped(net).get_random_parameters(0.1, seed=3), n_samples=3)
        for strategy in ("streaming", "loop")
    ]
    np.testing.assert_array_equal(slices[0].loss, slices[1].loss)
    assert photograph(net.model) == before


@pytest.mark.parametrize("fails_at", [1, 2, 5, 9, 20])
def test_the_model_is_as_before_where_the_loss_raises(fails_at, network) -> None:
    net = network("shared")
    before = photograph(net.model)
    calls = []

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        calls.append(0)
        if len(calls) >= fails_at:
            raise RuntimeError("the user's")
        return F.cross_entropy(output, target, reduction="none")

    with pytest.raises(UserCodeError, match="the user's"):
        plane(ModelWrapper(net.model, loss_fn, net.data), STREAMING)
    assert photograph(net.model) == before


class Views(nn.Module):
    """Parameters that are two views of one memory, and a buffer whose entries are all one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(5, 5))
        self.second = nn.Parameter(self.first.data.T)
        self.register_buffer("shift", torch.ones(1).expand(5))

    def forward(self, features: Tensor) -> Tensor:
        return features @ self.first @ self.second + self.shift


def test_tensors_that_share_memory_move_on_their_own() -> None:
    model = Views()
    before = photograph(model)
    data = (torch.randn(9, 5), torch.randint(0, 5, (9,)))
    found, expected = (plane(ModelWrapper(model, nn.CrossEntropyLoss(), data), each) for each in (STREAMING, LOOP))
    np.testing.assert_array_equal(found.loss, expected.loss)
    assert photograph(model) == before


class Limited(nn.Module):
    """Scales the rows of its embedding down when they are used, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 5, max_norm=0.5)
        self.head = nn.Linear(10, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        return self.head(self.embed(tokens).flatten(1)) + self.calls


def test_what_a_pass_writes_does_not_reach_the_next(small_blocks) -> None:
    model = Limited()
    before = photograph(model)
    data = (torch.randint(0, 6, (20, 2)), torch.randint(0, 3, (20,)))
    found, expected = (plane(ModelWrapper(model, nn.CrossEntropyLoss(), data), each) for each in (STREAMING, LOOP))
    np.testing.assert_array_equal(found.loss, expected.loss)
    assert photograph(model) == before


def test_automatic_streams_where_three_copies_do_not_fit(network) -> None:
    assert should_stream(100, 299)
    assert not should_stream(100, 300)
    net = network("mlp")
    size = sum(parameter.nbytes for parameter in net.model.parameters())
    tight, wide = (plane(wrapped(net), EvaluationSettings(memory_budget=budget)) for budget in (3 * size - 1, 3 * size))
    assert tight.evaluation["strategy"] == "streaming"
    assert wide.evaluation["strategy"] == "loop"


def test_a_disk_without_room_is_told(network, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with (
        pytest.raises(UsageError, match=r"set TMPDIR to a folder on a disk with more"),
        kept_elsewhere(wrapped(network("mlp"))),
    ):
        pass
