"""How `auto` chooses: by trials on the real thing, which the result tells."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.choices import StrategyName
from slicer_core.evaluate import capturing, trials
from slicer_core.evaluate import timed as timing
from slicer_core.evaluate.strategies import LoopKernel, PartialKernel, Session, Traces
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch


class Slow(nn.Module):
    """A network whose second layer, and with it each point, costs what a job of many points does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 400), nn.Linear(400, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


class Branching(Slow):
    """What it computes depends on a value, and it takes its time, which other work on the machine does not lengthen."""

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.05)
        out = super().forward(x)
        return out if self.first.weight.sum().item() < 1e9 else -out


def data(samples: int = 2000) -> tuple[Tensor, Tensor]:
    return torch.randn(samples, 5), torch.randint(0, 3, (samples,))


def curve(model: nn.Module, points: int, samples: int = 2000, **options: Any) -> Any:
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), data(samples))
    settings = EvaluationSettings(batch_size=2000, **options)
    return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=points)


def test_a_long_job_times_its_candidates_and_tells_the_times() -> None:
    found = curve(Slow(), 3000)
    trials = found.evaluation["trials"]
    labels = {label.partition(",")[0] for label in trials}
    assert {"loop", "partial"} <= labels
    assert all(seconds > 0 for seconds in trials.values())
    assert found.evaluation["strategy"] in labels


def test_what_cannot_be_captured_says_why_and_is_shared_as_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a process that has exported before.
    monkeypatch.setattr(capturing, "_FIRST_EXPORT_SECONDS", 0.0)
    found = curve(Branching(), 130, samples=20, workers=2)
    assert found.evaluation["strategy"] == "loop"
    assert found.evaluation["workers"] == 2
    assert "partial: " in found.evaluation["reason"]


def test_what_would_not_pay_for_a_capture_is_shared_as_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "_RECORDING_SECONDS", 1000.0)
    found = curve(Branching(), 130, samples=20, workers=2)
    assert found.evaluation["strategy"] == "loop"
    assert found.evaluation["workers"] == 2
    assert set(found.evaluation["trials"]) == {"loop", "loop, 2 workers"}
    assert "too short to pay for a capture" in found.evaluation["reason"]


def tried(captured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> tuple[trials.Trials, Any, PointBlock]:
    """Trials that would start processes for any job, with the batch and the block that they are made on."""
    # What there is in C takes as long here as what there is not.
    monkeypatch.setattr(trials, "dense_may_pay", lambda *_: False)
    found = captured(Slow(), *data(64))
    state, session = found.wrapper.state(), Session(Traces())
    direction = {name: torch.randn_like(state[name]) for name in found.wrapper.varying_names()}
    block = PointBlock(directions=lambda: (direction,), coefficients=np.linspace(-1, 1, 9)[:, None])
    monkeypatch.setattr(trials.Trials, "_sizes", lambda *args: [sys.maxsize])
    monkeypatch.setattr(trials, "_FORKS_WORTH", 0)
    monkeypatch.setattr(trials, "_FORKS_WORTH_WHERE_QUICK", 0)

    def create(name: str, block: PointBlock, buffers: None) -> PartialKernel:
        return PartialKernel(found.objective, state, block, session=session)

    return trials.Trials(found.objective, state, session, create), found, block


@pytest.mark.parametrize(("batches", "slices", "workers"), [(1000, 1, 2), (1, 1, 1), (4, 250, 1)])
def test_processes_are_started_for_each_slice_and_not_for_each_batch(
    batches: int, slices: int, workers: int, captured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {LoopKernel: 2e-3, PartialKernel: 1e-3}
    monkeypatch.setattr(trials, "timed", lambda kernel, *_, **__: (seconds[type(kernel)], 1e-3))
    monkeypatch.setattr(trials, "shared_out", lambda shares: ([share() for share in shares], []))
    tries, found, block = tried(captured, monkeypatch)
    with found.wrapper.evaluating():
        chosen = tries.fastest(found.batch, [block], batches=batches, slices=slices, max_workers=2, compiling="off")
    assert (chosen.strategy, chosen.workers) == ("partial", workers)


@pytest.mark.parametrize(("contention", "label"), [(1.5, "partial, one of 2 workers"), (1e9, "partial, 2 workers")])
def test_of_a_short_job_one_process_is_timed_where_it_is_far_ahead(
    contention: float, label: str, captured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    seconds = {LoopKernel: 2e-3, PartialKernel: 1e-3}
    monkeypatch.setattr(trials, "timed", lambda kernel, *_, **__: (seconds[type(kernel)], 1e-3))
    monkeypatch.setattr(
        trials, "shared_out", lambda shares: started.append(len(shares)) or ([run() for run in shares], [])
    )
    monkeypatch.setattr(trials, "_CONTENTION", contention)
    tries, found, block = tried(captured, monkeypatch)
    with found.wrapper.evaluating():
        chosen = tries.fastest(found.batch, [block], batches=100, slices=1, max_workers=2, compiling="off")
    assert (chosen.strategy, chosen.workers) == ("partial", 2)
    assert tries.timings[label] == pytest.approx(1e-3 if "one" in label else 5e-4)
    assert chosen.seconds(tries.timings) == pytest.approx(5e-4)
    assert (2 in started) == ("one" not in label)


def test_what_is_left_of_a_short_job_is_not_shared_where_processes_would_take_longer_to_start(
    captured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A loop that was held up when it was timed, in which sharing seemed to pay.
    seconds = {LoopKernel: 6e-3, PartialKernel: 5e-4}
    monkeypatch.setattr(trials, "timed", lambda kernel, *_, **__: (seconds[type(kernel)], 1e-3))
    tries, found, block = tried(captured, monkeypatch)
    with found.wrapper.evaluating():
        chosen = tries.fastest(found.batch, [block], batches=1, slices=1, max_workers=2, compiling="off")
    assert (chosen.strategy, chosen.workers) == ("partial", 1)
    assert tries.timings["partial, one thread"] == pytest.approx(5e-4)
    assert chosen.seconds(tries.timings) == pytest.approx(5e-4)
    assert not [label for label in tries.timings if "workers" in label]


def test_processes_that_one_outran_are_timed_again(
    captured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def attempt(self: trials.Trials, candidate: Any, batch: Any, block: Any) -> tuple[float, float] | None:
        asked.append(candidate.workers)
        # Held up at first.
        point = {1: 2e-3, 2: 4e-3 if asked.count(2) == 1 else 1e-3}[candidate.workers]
        self.timings[candidate.label] = point
        return (point, 0.0) if candidate.strategy == "partial" else None

    monkeypatch.setattr(trials.Trials, "_try", attempt)
    tries, found, block = tried(captured, monkeypatch)
    monkeypatch.setattr(trials, "timed", lambda *_, **__: (1e-2, 0.0))
    with found.wrapper.evaluating():
        chosen = tries.fastest(found.batch, [block], batches=1000, slices=1, max_workers=2, compiling="off")
    assert (chosen.strategy, chosen.workers) == ("partial", 2)
    assert asked[-3:] == [2, 1, 2]


@pytest.mark.parametrize(
    ("seconds", "before", "is_warm", "runs", "found"),
    [
        # What comes before is in the first run, and shows in it.
        ((0.5, 0.1), None, False, 2, (0.1, 0.4)),
        ((0.1, 0.3), 0.2, True, 1, (0.1, 0.2)),
        ((0.1, 0.3), None, True, 1, (0.1, 0.0)),
        # Too quick for one run to tell.
        ((1e-3, 2e-3), 0.2, True, 2, (2e-3, 0.2)),
    ],
)
def test_a_first_run_that_is_as_the_others_is_enough_where_it_takes_long(
    seconds: tuple[float, float],
    before: float | None,
    is_warm: bool,
    runs: int,
    found: tuple[float, float],
    captured: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, subject, block = tried(captured, monkeypatch)
    kernel = LoopKernel(subject.objective, subject.wrapper.state(), block)
    kernel.seconds_before = before
    asked, now = [], [0.0]

    def terms(batch: Batch, points: slice) -> dict[str, Any]:
        now[0] += seconds[min(len(asked), 1)] * (points.stop - points.start)
        asked.append(points)
        return {}

    monkeypatch.setattr(kernel, "terms", terms)
    monkeypatch.setattr(timing, "clock", lambda device: now[0])
    assert timing.timed(kernel, subject.batch, 0.0, is_warm=is_warm) == pytest.approx(found)
    assert len(asked) == runs


def test_a_kernel_is_prepared_once_for_a_trial_in_one_process(
    captured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, found, block = tried(captured, monkeypatch)
    made: list[Any] = []
    create = tries._create

    def noted(*args: Any) -> Any:
        made.append(create(*args))
        return made[-1]

    monkeypatch.setattr(tries, "_create", noted)
    # No second candidate.
    monkeypatch.setattr(trials, "_trial_seconds", lambda job: 0.0)
    monkeypatch.setattr(trials, "_SMALL_SECONDS", {"cpu": 0.0})
    with found.wrapper.evaluating():
        tries.fastest(found.batch, [block], batches=1, slices=1, max_workers=1, compiling="off")
    assert len(made) == 1
    assert made[0].seconds_before is not None
    assert tries.timings["partial"] > 0
    # What is known of the first tells the second nothing of what goes before a point.
    with found.wrapper.evaluating():
        tries.fastest(found.batch, [block], batches=1, slices=1, max_workers=1, compiling="off")
    assert len(made) == 3
    assert made[1].seconds_before is None


def test_a_short_job_is_not_tried_at_all(network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # However long the loop is held up here.
    monkeypatch.setattr(capturing, "_RECORDING_SECONDS", 1000.0)
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    found = RandomDirectionSlicer(wrapper, progress=False).slice_1d(n_samples=3)
    assert found.evaluation["strategy"] == "loop"
    assert list(found.evaluation["trials"]) == ["loop"]


@pytest.mark.parametrize("strategy", ["partial", "partial-vmap"])
def test_compiled_code_gives_the_loops_numbers(
    strategy: StrategyName, network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Not what other runs keep in a folder for all, whose torch may be another.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    found, plain = (
        RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=4)
        for settings in (
            EvaluationSettings(strategy=strategy, compile="on"),
            EvaluationSettings(strategy="loop"),
        )
    )
    assert found.evaluation["strategy"] == f"{strategy}-compiled", found.evaluation.get("reason")
    np.testing.assert_allclose(found.loss, plain.loss, rtol=2e-5)


@pytest.mark.parametrize("ignored", [-100, 1])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0]])
def test_cross_entropy_over_few_classes_is_torchs_own(
    ignored: int, weights: list[float] | None, network: Callable[[str], Any], reference: Any, plain_direction: Any
) -> None:
    net = network("mlp")
    loss_fn = nn.CrossEntropyLoss(
        weight=None if weights is None else torch.tensor(weights), ignore_index=ignored, reduction="mean"
    )
    wrapper = ModelWrapper(net.model, loss_fn, net.data)
    settings = EvaluationSettings(strategy="partial", batch_size=9)
    found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=4)
    state = {name: parameter.detach() for name, parameter in net.model.named_parameters()}
    direction = plain_direction(state, seed=0, axis=0)
    expected = reference(net.model, loss_fn, net.data).along([direction], [(a,) for a in np.linspace(-1, 1, 4)])
    np.testing.assert_allclose(found.loss, expected, rtol=2e-5)


def test_an_ignored_sample_that_is_not_finite_counts_for_nothing() -> None:
    inputs, target = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, -100])
    inputs[5] = torch.nan
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    expected = F.cross_entropy(model(inputs), target).item()
    assert np.isfinite(expected)
    settings = EvaluationSettings(strategy="partial")
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target))
    found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=3)
    assert found.loss[1] == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(found.loss).all()
