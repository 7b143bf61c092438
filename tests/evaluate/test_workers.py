"""Points shared among forked processes: the same numbers, whatever becomes of a process."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import AxisParallelSlicer, EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import StopRequested
from slicer_core.evaluate import Decisions, decide_alike, evaluate, shares
from slicer_core.evaluate.evaluator import PointEvaluator
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.parallel import await_ended, shared_out
from slicer_core.evaluate.strategies import partial as partial_evaluation
from slicer_core.plan import PointBlock


def settings(strategy: Any = "partial", workers: int = 2) -> EvaluationSettings:
    return EvaluationSettings(strategy=strategy, workers=workers, batch_size=9)


@pytest.mark.parametrize("strategy", ["partial", "partial-vmap", "loop", "vmap"])
def test_two_processes_give_the_numbers_of_one(strategy: str, network: Callable[[str], Any]) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data, metrics={"right": right})
    found = {
        workers: RandomDirectionSlicer(wrapper, settings=settings(strategy, workers), progress=False).slice_2d(
            grid_size=(5, 3)
        )
        for workers in (1, 2, 3)
    }
    assert [found[workers].evaluation.get("workers", 1) for workers in (1, 2, 3)] == [1, 2, 3]
    for workers in (2, 3):
        for ours, theirs in zip(found[workers].arrays, found[1].arrays, strict=True):
            np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-6)


def test_many_curves_are_dealt_out_whole(network: Callable[[str], Any]) -> None:
    net = network("convolution")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    total = sum(parameter.numel() for parameter in net.model.parameters())
    chosen = list(range(0, total, total // 7))
    curves = {
        workers: AxisParallelSlicer(wrapper, settings=settings("partial", workers), progress=False).slice(
            n_samples=4, params_to_slice=chosen
        )
        for workers in (1, 2)
    }
    np.testing.assert_allclose(curves[2].loss, curves[1].loss, rtol=1e-6)
    assert curves[2].evaluation["workers"] == 2


@pytest.mark.parametrize("strategy", ["partial", "partial-vmap", "loop", "vmap"])
def test_processes_that_share_the_data_give_the_bits_of_those_that_share_the_points(
    strategy: str, network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data, metrics={"right": right})
    blocks, split = line(wrapper, 6), wrapper.split("train", 5)
    found = {}
    for by_parts in (False, True):
        monkeypatch.setattr(shares, "parts_pay", lambda *args, answer=by_parts: answer)
        told: list[float] = []
        found[by_parts] = evaluate(
            wrapper, split, blocks, wrapper.state(), settings=settings(strategy), advance=told.append
        )
        assert found[by_parts].workers == 2
        assert sum(told) == pytest.approx(6)
    assert split.num_batches > 2
    for name, sums in found[False].sums.items():
        assert found[True].sums[name].to_bytes() == sums.to_bytes()


def test_what_is_known_of_a_part_of_the_data_is_known_to_all_processes(
    network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    monkeypatch.setattr(shares, "parts_pay", lambda *args: True)
    blocks = line(wrapper, 6)
    evaluator = PointEvaluator(wrapper, wrapper.split("train", 5), blocks, wrapper.state(), settings=settings())
    first = evaluator.evaluate(blocks)
    monkeypatch.setattr(Objective, "center_terms", lambda *args, **kwargs: pytest.fail("the center was run again"))
    again = evaluator.evaluate(blocks)
    assert again.reason is None
    assert again.sums["loss"].to_bytes() == first.sums["loss"].to_bytes()


def test_batches_of_more_entries_than_samples_are_numbered_as_by_one_process(
    network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network("mlp").model
    inputs = {length: torch.randn(4, length, 5, generator=torch.Generator().manual_seed(length)) for length in (1, 2)}
    batches = [(inputs[length], torch.arange(4 * length).view(4, length) % 3) for length in (1, 2, 2, 1)]

    def of_each_token(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten(), reduction="none")

    wrapper = ModelWrapper(model, batch_loss=of_each_token, train_data=batches)
    blocks, asked = line(wrapper, 6), []
    monkeypatch.setattr(shares, "parts_pay", lambda *args: asked.append(args) or True)
    told: list[float] = []
    single, shared = (
        evaluate(
            wrapper,
            wrapper.split("train"),
            blocks,
            wrapper.state(),
            settings=settings("loop", workers),
            advance=told.append if workers == 2 else None,
        )
        for workers in (1, 2)
    )
    assert sum(told) == pytest.approx(6)
    assert len(asked) == 1
    assert shared.sums["loss"].num_entries == 24
    np.testing.assert_allclose(shared.sums["loss"].groups.points, single.sums["loss"].groups.points, rtol=1e-6)


def line(wrapper: ModelWrapper, count: int) -> list[PointBlock]:
    """Points along one direction."""
    generator = torch.Generator().manual_seed(0)
    direction = {
        name: torch.randn(tensor.shape, generator=generator) for name, tensor in wrapper.get_parameters().items()
    }
    return [PointBlock(directions=lambda: (direction,), coefficients=np.linspace(-1, 1, count)[:, None])]


def test_what_processes_decided_is_known_for_the_next_slice(
    network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    parameters = wrapper.get_parameters()
    blocks = [
        PointBlock(directions=lambda name=name, part=part: ({name: part},), coefficients=np.linspace(-1, 1, 3)[:, None])
        for _ in range(40)
        for name, part in parameters.items()
    ]
    split = wrapper.split("train", 9)
    found = evaluate(wrapper, split, blocks, wrapper.state(), settings=settings())
    decided = []
    monkeypatch.setattr(partial_evaluation, "dear_nodes", lambda *args: decided.append(args) or set())
    again = evaluate(wrapper, split, blocks, wrapper.state(), settings=settings(workers=1))
    assert (found.workers, again.workers) == (2, 1)
    assert decided == []
    np.testing.assert_allclose(again.sums["loss"].values, found.sums["loss"].values, rtol=1e-6)


def right(output: Tensor, target: Tensor) -> Tensor:
    return output.argmax(dim=1) == target


class DeadlyElsewhere(nn.Module):
    """Ends every process but the one that it was made in."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)
        self.home = os.getpid()

    def forward(self, x: Tensor) -> Tensor:
        if os.getpid() != self.home:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(x)


@pytest.mark.parametrize("by_parts", [False, True])
def test_points_of_a_process_that_died_are_evaluated_again(
    network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, *, by_parts: bool
) -> None:
    fork = os.fork

    def fork_and_wait() -> int:
        # One that comes late finds nothing left to die of.
        process = fork()
        if process:
            os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
        return process

    monkeypatch.setattr(shares, "parts_pay", lambda *args: by_parts)
    monkeypatch.setattr(os, "fork", fork_and_wait)
    net = network("mlp")
    model = DeadlyElsewhere()
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), net.data)
    plain = RandomDirectionSlicer(wrapper, settings=settings("loop", 1), progress=False).slice_1d(n_samples=6)
    found = RandomDirectionSlicer(wrapper, settings=settings("loop"), progress=False).slice_1d(n_samples=6)
    np.testing.assert_allclose(found.loss, plain.loss, rtol=1e-6)
    assert "signal 9" in found.evaluation["reason"]


def test_an_interrupt_right_after_the_fork_does_not_run_the_program_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, parent = os.fork, os.getpid()

    def interrupted() -> int:
        process = fork()
        if process == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return process

    monkeypatch.setattr(os, "fork", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        results, reasons = shared_out([lambda: 1, lambda: 2])
    finally:
        if os.getpid() != parent:
            os._exit(1)
        signal.signal(signal.SIGINT, before)
    assert results == [1, 2]
    assert reasons == ["a worker process ended by signal 2, so its points were run again"]


def test_half_of_a_result_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, pipe, parent = os.fork, os.pipe, os.getpid()
    children: list[int] = []
    readers: list[int] = []

    def noted_fork() -> int:
        children.append(fork())
        return children[-1]

    def noted_pipe() -> tuple[int, int]:
        ends = pipe()
        readers.append(ends[0])
        return ends

    def until_the_other_writes() -> int:
        while not int.from_bytes(fcntl.ioctl(readers[0], termios.FIONREAD, bytes(4)), sys.byteorder):
            time.sleep(1e-3)
        os.kill(children[0], signal.SIGKILL)
        return 1

    monkeypatch.setattr(os, "fork", noted_fork)
    monkeypatch.setattr(os, "pipe", noted_pipe)
    # More than a pipe holds, in the process that is ended.
    results, reasons = shared_out([until_the_other_writes, lambda: bytes(2**22) if os.getpid() != parent else b"again"])
    assert results == [1, b"again"]
    assert reasons == ["a worker process ended by signal 9, so its points were run again"]


def test_why_a_share_failed_is_told() -> None:
    parent = os.getpid()

    def share() -> int:
        if os.getpid() != parent:
            raise ValueError("not here")
        return 2

    results, reasons = shared_out([lambda: 1, share])
    assert results == [1, 2]
    assert reasons == ["a worker process failed: ValueError: not here, so its points were run again"]


def test_processes_that_gave_their_results_are_forgotten() -> None:
    assert shared_out([lambda: 1, lambda: 2]) == ([1, 2], [])
    await_ended()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_stop_leaves_no_process_behind(network: Callable[[str], Any]) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    direction = {name: torch.ones_like(tensor) for name, tensor in wrapper.get_parameters().items()}
    block = PointBlock(directions=lambda: (direction,), coefficients=np.linspace(0, 1, 400)[:, None])

    def stop(points: float) -> None:
        raise StopRequested(75)

    await_ended()
    with pytest.raises(StopRequested):
        evaluate(wrapper, wrapper.split("train", 9), [block], wrapper.state(), settings=settings("loop"), advance=stop)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_data_that_is_read_anew_is_not_read_by_two_processes(network: Callable[[str], Any]) -> None:
    net = network("mlp")

    class Batches:
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            yield net.inputs, net.classes

    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), Batches())
    split = wrapper.split("train")
    lazy = type(split)(
        name=split.name,
        num_samples=split.num_samples,
        num_batches=split.num_batches,
        fingerprint=split.fingerprint,
        batches=split.batches,
    )
    direction = {name: torch.ones_like(tensor) for name, tensor in wrapper.get_parameters().items()}
    block = PointBlock(directions=lambda: (direction,), coefficients=np.linspace(0, 1, 6)[:, None])
    chosen = EvaluationSettings(strategy="loop", workers=2)
    assert evaluate(wrapper, lazy, [block], wrapper.state(), settings=chosen).workers == 1
    assert evaluate(wrapper, split, [block], wrapper.state(), settings=chosen).workers == 2


def test_progress_counts_the_points_of_all_processes(network: Callable[[str], Any]) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    direction = {name: torch.ones_like(tensor) for name, tensor in wrapper.get_parameters().items()}
    block = PointBlock(directions=lambda: (direction,), coefficients=np.linspace(0, 1, 7)[:, None])
    told: list[float] = []
    evaluate(
        wrapper, wrapper.split("train", 9), [block], wrapper.state(), settings=settings("loop"), advance=told.append
    )
    assert sum(told) == pytest.approx(7)


def test_how_work_is_shared_in_a_job_does_not_hang_on_timings_that_a_resumed_one_lacks(
    network: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(shares, "parts_pay", lambda *args: asked.append(args) or False)
    decide_alike(wrapper, None, Decisions())
    blocks = line(wrapper, 6)
    evaluator = PointEvaluator(wrapper, wrapper.split("train", 9), blocks, wrapper.state(), settings=settings())
    evaluator.evaluate(blocks)
    evaluator._choice.timings |= {"loop": 1.0, evaluator._choice.label: 1e-3}
    evaluator.evaluate(blocks)
    assert asked[0] == asked[1]
