"""Convolutions by Winograd's tiles, beside torch's own in float64, and the strategy that has them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import AxisParallelSlicer, EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate import capturing, part_sizes, tiled, trials
from slicer_core.evaluate.finals import ROUNDS, close_totals, timed_in_turns
from slicer_core.evaluate.strategies import LoopKernel, PartialKernel, PartialWinogradKernel, Session, Traces, partial
from slicer_core.evaluate.winograd import (
    ConvolutionShape,
    TiledConvolution,
    by_compiler,
    convolution,
    tiled_convolutions_of,
)
from slicer_core.plan import PointBlock

SETTINGS = EvaluationSettings(strategy="partial-winograd", batch_size=6)


class Residual(nn.Module):
    """Two blocks, of which the second has odd sizes, with a shortcut, eval BatchNorm and a padding of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 32, 3, padding=1)
        self.first = nn.Conv2d(32, 40, 3, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(40)
        self.second = nn.Conv2d(40, 40, 3, padding=(1, 1))
        self.third = nn.Conv2d(40, 32, 3)
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(F.relu(self.stem(x)))))
        x = F.relu(x + self.second(x), inplace=True)
        return self.head(F.relu(self.third(F.max_pool2d(x, 2))).mean((2, 3)))


@pytest.fixture(params=["compiled", "torch"])
def transforms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The two ways to transform tiles."""
    if request.param == "torch":
        monkeypatch.setattr(convolution, "compiled", lambda: None)
    elif by_compiler.compiled() is None:
        pytest.skip("there is no C compiler")
    # As in the processes that share points.
    assert torch.get_num_threads() == 1
    return request.param


@pytest.fixture
def few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small convolutions are run by tiles too."""
    monkeypatch.setattr(tiled, "_MIN_TILES", 1)
    monkeypatch.setattr(tiled, "saves_products", lambda shape: shape.channels >= 32)


class OwnConvolution(nn.Module):
    """A convolution with a weight of its own, as code that is no layer of torch's has it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(2, 32, 1), nn.Linear(32, 3)
        self.weight = nn.Parameter(0.05 * torch.randn(32, 32, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(F.conv2d(F.relu(self.stem(x)), self.weight, padding=1)).mean((2, 3)))


def strided() -> nn.Module:
    """Its convolutions are not tiled."""
    return nn.Sequential(nn.Conv2d(2, 32, 3), nn.Conv2d(32, 32, 3, stride=2), nn.Flatten(), nn.Linear(512, 3))


def residual() -> ModelWrapper:
    model = Residual()
    with torch.no_grad():
        model(torch.randn(20, 2, 12, 12))
    return ModelWrapper(model, nn.CrossEntropyLoss(), (torch.randn(10, 2, 12, 12), torch.randint(0, 3, (10,))))


def curves(wrapper: ModelWrapper, settings: EvaluationSettings, moved: str | None) -> Any:
    """Of a plane of all parameters, or of lines of single ones of a tensor."""
    if moved is None:
        return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_2d(grid_size=(3, 4))
    sizes = {name: tensor.numel() for name, tensor in wrapper.model.named_parameters()}
    first = sum(list(sizes.values())[: list(sizes).index(moved)])
    slicer = AxisParallelSlicer(wrapper, settings=settings, progress=False)
    return slicer.slice(bounds=(-1.0, 1.0), n_samples=3, params_to_slice=[first, first + 50])


def seen_tiles(monkeypatch: pytest.MonkeyPatch) -> dict[ConvolutionShape, TiledConvolution]:
    """The convolutions that are made from now on, by shape."""
    seen: dict[ConvolutionShape, TiledConvolution] = {}

    def made(shapes: list[ConvolutionShape], *, most_bytes: int) -> Any:
        found = tiled_convolutions_of(shapes, most_bytes=most_bytes)
        seen.update({shape: run for shape, run in zip(shapes, found, strict=True) if run is not None})
        return found

    monkeypatch.setattr(tiled, "tiled_convolutions_of", made)
    return seen


@pytest.mark.usefixtures("transforms")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    ("images", "channels", "outputs", "height", "width", "padding"),
    [(5, 3, 17, 7, 9, (1, 1)), (3, 18, 8, 8, 12, (0, 2)), (70, 40, 33, 6, 5, (0, 0)), (1, 64, 5, 1, 30, (1, 1))],
)
def test_tiles_give_torchs_convolution(
    images: int, channels: int, outputs: int, height: int, width: int, padding: Any, channels_last: bool, dtype: Any
) -> None:
    memory = torch.channels_last if channels_last else torch.contiguous_format
    x, weight = (torch.randn(images, channels, height, width), torch.randn(outputs, channels, 3, 3))
    bias = torch.randn(outputs)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=padding)
    x, weight = (tensor.to(dtype).contiguous(memory_format=memory) for tensor in (x, weight))
    shape = ConvolutionShape(
        images=images,
        channels=channels,
        height=height,
        width=width,
        outputs=outputs,
        padding=padding,
        dtype=dtype,
    )
    other = dataclasses.replace(shape, images=2 * images, height=height + 3)
    # Memory that a larger one uses too.
    run, between = tiled_convolutions_of([shape, other])
    assert run is not None
    assert between is not None
    out = torch.full(exact.shape, float("nan"), dtype=dtype).contiguous(memory_format=memory)
    tolerance = {"rtol": 0.0, "atol": (1e-5 if dtype is torch.float32 else 1e-14) * exact.abs().max().item()}
    for _ in range(2):
        between(
            torch.randn(2 * images, channels, height + 3, width, dtype=dtype),
            between.filters_of(torch.randn_like(weight)),
            None,
            out=torch.empty(2 * images, outputs, other.out_height, other.out_width, dtype=dtype),
        )
        found = run(x, run.filters_of(weight), bias.to(dtype), out=out)
        assert found is out
        torch.testing.assert_close(out.double(), exact, **tolerance)
        run(x, run.filters_of(weight, kept=True), None, out=out)
        torch.testing.assert_close(out.double() + bias.double()[:, None, None], exact, **tolerance)
    added = torch.randn_like(out)
    for more in (added, added.contiguous(), added.contiguous(memory_format=torch.channels_last)):
        run(x, run.filters_of(weight), bias.to(dtype), out=out, added=more, relu=True)
        torch.testing.assert_close(out.double(), (exact + added.double()).relu(), **tolerance)
    run(x, run.filters_of(weight), bias.to(dtype), out=out, relu=True)
    torch.testing.assert_close(out.double(), exact.relu(), **tolerance)


def test_an_image_whose_sums_overflow_is_nan_and_nothing_that_looks_like_a_number(transforms: str) -> None:
    shape = ConvolutionShape(images=2, channels=20, height=8, width=8, outputs=3, padding=(1, 1), dtype=torch.float32)
    (run,), weight = tiled_convolutions_of([shape]), 1e-38 * torch.randn(3, 20, 3, 3)
    assert run is not None
    x = torch.randn(2, 20, 8, 8)
    x[1, 4, 5, 6] = 2e38
    for relu in (False, True):
        out = run(x, run.filters_of(weight), None, out=torch.empty(2, 3, 8, 8), relu=relu)
        assert out[1].isnan().all()
        # By torch, images that are transformed together are.
        assert out[0].isnan().all() if transforms == "torch" else out[0].isfinite().all()


@pytest.mark.usefixtures("few_tiles")
def test_planes_and_lines_are_the_loops(transforms: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper, shapes = residual(), seen_tiles(monkeypatch)
    # Of the second, the weights that don't move are transformed once; of the third, at each point.
    for moved, kept in ((None, 2**26), ("first.weight", 2**26), ("first.weight", 0)):
        monkeypatch.setattr(tiled, "_KEPT_BYTES", kept)
        found = curves(wrapper, SETTINGS, moved)
        plain = curves(wrapper, EvaluationSettings(strategy="loop"), moved)
        assert found.evaluation["strategy"] == "partial-winograd", found.evaluation.get("reason")
        np.testing.assert_allclose(found.loss, plain.loss, rtol=1e-5)
    assert {(shape.channels, shape.outputs) for shape in shapes} == {(32, 40), (40, 40), (40, 32)}


@pytest.mark.usefixtures("few_tiles", "transforms")
def test_what_does_not_fit_the_memory_beside_what_is_combined_has_no_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper, seen, combined, measure = residual(), seen_tiles(monkeypatch), [0], partial._combined_bytes

    def measured(frontier: Any) -> int:
        combined.append(measure(frontier))
        return combined[-1]

    def tiles(half: int) -> tuple[set[ConvolutionShape], int]:
        """The shapes that have them, and the bytes of their buffers."""
        seen.clear()
        settings = dataclasses.replace(SETTINGS, batch_size=10, memory_budget=max(combined) + 2 * half)
        found = curves(wrapper, settings, None)
        assert found.evaluation["strategy"] == "partial-winograd"
        np.testing.assert_allclose(found.loss, plain.loss, rtol=1e-5)
        buffers = {id(flat): flat.nbytes for run in seen.values() for flat in run._memory._flat.values()}
        return set(seen), sum(buffers.values())

    monkeypatch.setattr(partial, "_combined_bytes", measured)
    # What is kept for later blocks has a share of its own.
    monkeypatch.setattr(partial.Session, "kept_bytes", lambda session: 0)
    plain = curves(wrapper, EvaluationSettings(strategy="loop"), None)
    every, together = tiles(2**30)
    assert len(every) == 3
    assert tiles(together) == (every, together)
    some, taken = tiles(together - 1)
    assert set() < some < every
    assert taken < together
    assert tiles(1000) == (set(), 0)


@pytest.mark.usefixtures("few_tiles", "transforms")
def test_points_that_tiles_lose_are_the_loops(captured: Callable[..., Any]) -> None:
    # After the second activation, -infinity would look like a number.
    model = nn.Sequential(
        *(nn.Conv2d(2, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 3))
    )
    with torch.no_grad():
        # Four times an input of the second convolution is too much for float32, and an output is not.
        for layer, scale in ((model[0], 2e38), (model[2], 1e-38)):
            layer.weight.mul_(scale)
    found = captured(model, torch.randn(5, 2, 6, 6).clamp(-1, 1), torch.arange(5) % 3)
    state = found.wrapper.state()
    direction = {"0.weight": state["0.weight"].flip(0), "2.weight": state["2.weight"].flip(1)}
    block = PointBlock(directions=lambda: (direction,), coefficients=np.array([[0.0], [0.1], [0.2]]))
    ours, loop = (kind(found.objective, state, block) for kind in (PartialWinogradKernel, LoopKernel))
    with found.wrapper.evaluating():
        lost = PartialKernel.terms(ours, found.batch, slice(1, 3))["loss"][0]
        assert not lost.isfinite().any()
        expected = loop.terms(found.batch, slice(1, 3))["loss"][0]
        assert expected.isfinite().all()
        torch.testing.assert_close(ours.terms(found.batch, slice(1, 3))["loss"][0], expected, rtol=1e-5, atol=0)


def test_models_without_such_convolutions_say_so(network: Callable[[str], Any]) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    found = RandomDirectionSlicer(wrapper, settings=SETTINGS, progress=False).slice_1d(n_samples=3)
    assert found.evaluation["strategy"] == "loop"
    assert "no convolution of 3 by 3" in found.evaluation["reason"]


@pytest.mark.parametrize(("make", "has_tiles"), [(Residual, True), (OwnConvolution, True), (strided, False)])
def test_auto_tries_tiles_where_there_are_such_convolutions(
    make: Callable[[], nn.Module], has_tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_trial_seconds", lambda job: 60.0)
    monkeypatch.setattr(capturing, "_RECORDING_SECONDS", -1e9)
    monkeypatch.setattr(trials, "_TRIAL_SHARE", 1e-6)
    monkeypatch.setattr(tiled, "_WORTH_SECONDS", 0.0)
    data = torch.randn(10, 2, 12, 12), torch.randint(0, 3, (10,))
    wrapper = ModelWrapper(make(), nn.CrossEntropyLoss(), data)
    found = RandomDirectionSlicer(wrapper, progress=False).slice_1d(n_samples=5)
    labels = list(found.evaluation["trials"])
    assert any(label.startswith("partial-winograd") for label in labels) == has_tiles
    if has_tiles and by_compiler.compiled() is not None:
        # Far ahead where a process has one thread, as here, so before the time may be up.
        assert labels[1].startswith("partial-winograd")


@pytest.mark.parametrize(("channels", "has_many"), [(16, False), (128, True)])
def test_where_filters_are_many_large_parts_of_a_batch_come_first(
    channels: int, has_many: bool, captured: Callable[..., Any]
) -> None:
    model = nn.Sequential(nn.Conv2d(2, channels, 3), nn.Conv2d(channels, channels, 3), nn.AdaptiveAvgPool2d(1))
    model.extend([nn.Flatten(), nn.Linear(channels, 3)])
    found = captured(model, torch.randn(2000, 2, 12, 12), torch.arange(2000) % 3)
    sizes = part_sizes.part_sizes(found.objective, found.wrapper.state(), found.batch, tiled=True)
    assert len(sizes) == 2
    assert sizes == sorted(sizes, reverse=has_many)


@pytest.mark.parametrize("in_turns", [(1.2e-3, 0.9e-3), (0.9e-3, 1.2e-3)])
def test_what_comes_out_close_is_timed_in_turns_in_a_long_job(
    in_turns: tuple[float, float], captured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = captured(Residual(), torch.randn(4, 2, 12, 12), torch.arange(4) % 3)
    state, session = found.wrapper.state(), Session(Traces())
    direction = {name: torch.randn_like(state[name]) for name in found.wrapper.varying_names()}
    block = PointBlock(directions=lambda: (direction,), coefficients=np.linspace(-1, 1, 9)[:, None])
    seconds = {LoopKernel: 5e-3, PartialKernel: 1e-3, PartialWinogradKernel: 1.1e-3}
    kinds = {"partial": PartialKernel, "partial-winograd": PartialWinogradKernel}
    monkeypatch.setattr(trials, "timed", lambda kernel, *_, **__: (seconds[type(kernel)], 1e-3))
    monkeypatch.setattr(trials.Trials, "_sizes", lambda *args: [sys.maxsize])

    def turns(entrants: Any, *, workers: int, points: int) -> list[float]:
        # In a job this long, turns may be.
        assert points > 1
        assert [type(make()) for make, _ in entrants] == [PartialKernel, PartialWinogradKernel]
        return list(in_turns)

    monkeypatch.setattr(trials, "timed_in_turns", turns)
    tried = trials.Trials(
        found.objective,
        state,
        session,
        lambda name, block, buffers: kinds[name](found.objective, state, block, session=session),
    )
    with found.wrapper.evaluating():
        chosen = tried.fastest(found.batch, [block], batches=1e6, slices=1, max_workers=1, compiling="off")
    names = list(kinds)
    assert chosen.strategy == names[in_turns.index(min(in_turns))]
    assert [tried.timings[name] for name in names] == list(in_turns)


def test_kernels_take_turns(captured: Callable[..., Any]) -> None:
    found = captured(Residual(), torch.randn(4, 2, 12, 12), torch.arange(4) % 3)
    state = found.wrapper.state()
    direction = {name: torch.randn_like(state[name]) for name in found.wrapper.varying_names()}
    block = PointBlock(directions=lambda: (direction,), coefficients=np.linspace(-1, 1, 9)[:, None])
    order, sizes = list[str](), list[int]()

    class Noted(LoopKernel):
        def terms(self, batch: Any, points: slice) -> Any:
            order.append(self.name)
            sizes.append(points.stop)
            return super().terms(batch, points)

    def maker(name: str) -> Callable[[], Noted]:
        def make() -> Noted:
            kernel = Noted(found.objective, state, block)
            kernel.name = name
            return kernel

        return make

    with found.wrapper.evaluating():
        points = timed_in_turns([(maker(name), found.batch) for name in "ab"], workers=1, points=20)
    assert order == ["a", "b"] * (1 + ROUNDS)
    # All that there are.
    assert sizes == [1] * 2 + [9] * 2 * ROUNDS
    assert len(points) == 2
    assert min(points) > 0
    assert close_totals({"a": 1.0, "b": 1.2, "c": 2.0}, within=1.3) == ["a", "b"]
    assert close_totals({"a": 1.0, "b": 2.0}, within=1.3) == []
