"""Strategies that record the general part and start it again as a whole."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slicer_core import AxisParallelSlicer, EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate import trials
from slicer_core.evaluate.strategies import RECORDERS, partial_vmap
from tape import Run, Tape

STRATEGIES = ("partial-cudagraph", "partial-vmap-cudagraph")


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Tape:
    recorder = Tape()
    monkeypatch.setitem(RECORDERS, "cpu", recorder)
    return recorder


def planes(net: Any, strategy: str, **options: Any) -> Any:
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    settings = EvaluationSettings(batch_size=7, strategy=strategy, **options)
    return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_2d(grid_size=(3, 5), seed=5)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ["mlp", "convolution", "attention", "encoder", "weight_norm"])
def test_a_plane_is_the_loops(name: str, strategy: str, network: Callable[[str], Any], tape: Tape) -> None:
    net = network(name)
    expected, found = planes(net, "loop"), planes(net, strategy)
    assert found.evaluation["strategy"] == strategy, found.evaluation["reason"]
    assert tape.replays > 0
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)
    np.testing.assert_allclose(found.array(role="stderr"), expected.array(role="stderr"), rtol=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_layers_are_the_loops(strategy: str, network: Callable[[str], Any], tape: Tape) -> None:
    net = network("convolution")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)

    def curves(name: str) -> Any:
        settings = EvaluationSettings(batch_size=7, strategy=name)
        return AxisParallelSlicer(wrapper, settings=settings, progress=False).slice(
            n_samples=4, params_to_slice=[0, 3, 9, 60, 120]
        )

    found = curves(strategy)
    assert found.evaluation["strategy"] == strategy, found.evaluation["reason"]
    np.testing.assert_allclose(found.loss, curves("loop").loss, rtol=1e-5)


def test_a_chunk_that_is_not_full_is_filled_up(
    network: Callable[[str], Any], tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial_vmap, "_CHUNK_POINTS", 4)
    net = network("mlp")
    found = planes(net, "partial-vmap-cudagraph")
    assert found.evaluation["strategy"] == "partial-vmap-cudagraph"
    np.testing.assert_allclose(found.loss, planes(net, "loop").loss, rtol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_recorded_memory_is_let_go_without_a_collection(
    strategy: str, network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Any]] = []

    def remembered(run: Run, device: torch.device, reset: Callable[[], None]) -> Run:
        replay = Tape()(run, device, reset)
        made.append(weakref.ref(replay))
        return replay

    monkeypatch.setitem(RECORDERS, "cpu", remembered)
    gc.collect()
    gc.disable()
    try:
        found = planes(network("mlp"), strategy)
        alive = [reference for reference in made if reference() is not None]
    finally:
        gc.enable()
    assert found.evaluation["strategy"] == strategy
    # Of four batches; the last one's may be held as long as the evaluation's own objects are.
    assert len(made) >= 4
    assert len(alive) <= 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_device_without_graphs_is_said_to_have_none(strategy: str, network: Callable[[str], Any]) -> None:
    net = network("mlp")
    found = planes(net, strategy)
    assert found.evaluation["strategy"] == "loop"
    assert "CUDA graphs need a CUDA device, and the model is on cpu" in found.evaluation["reason"]
    np.testing.assert_allclose(found.loss, planes(net, "loop").loss, rtol=1e-6)


def test_auto_tries_them_where_a_device_records(
    network: Callable[[str], Any], tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Trials without haste, of a point that counts as small however busy the machine is.
    monkeypatch.setattr(trials, "_trial_seconds", lambda job: 1000.0)
    monkeypatch.setattr(trials, "_TRIAL_SHARE", 0.0)
    monkeypatch.setattr(trials, "_SMALL_SECONDS", {"cpu": 1000.0})
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    slicer = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(workers=1), progress=False)
    found = slicer.slice_2d(grid_size=(60, 60), seed=5)
    assert set(STRATEGIES) <= found.evaluation["trials"].keys()
    # What `partial` ran in its trial is not taken for a recording of the same part.
    assert tape.made >= len(STRATEGIES)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ["mlp", "convolution", "attention"])
def test_a_plane_on_a_gpu_is_the_loops(name: str, strategy: str, network: Callable[[str], Any]) -> None:
    net = network(name)
    net.model.to("cuda")
    expected, found = planes(net, "loop"), planes(net, strategy)
    assert found.evaluation["strategy"] == strategy, found.evaluation["reason"]
    # Libraries may choose other algorithms for other layouts.
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-4)
