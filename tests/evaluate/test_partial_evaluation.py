"""What the partial evaluator makes of graphs: which nodes stand still, which are combined, and the loop's numbers."""

from __future__ import annotations

import gc
import operator
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import AxisParallelSlicer, EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.partition import partition
from slicer_core.evaluate.strategies import CannotEvaluateError, LoopKernel, PartialKernel, Session, Traces
from slicer_core.evaluate.trace import Tracer
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch

PARTIAL = EvaluationSettings(strategy="partial")
SIZE = 6


class Block(nn.Module):
    """Two convolutions with BatchNorm around a connection that skips them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.second, self.second_norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.second_norm(self.second(self.relu(self.first_norm(self.first(x)))))
        out += x
        return self.relu(out)


class Attention(nn.Module):
    """A layer of a small language model with tied embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(11, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, dropout=0.1)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.tokens(x))).transpose(1, 2)


Example = tuple[nn.Module, Tensor, Tensor]


def mlp() -> Example:
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4))
    return model, torch.randn(SIZE, 5), torch.randint(0, 4, (SIZE,))


def residual() -> Example:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        Block(4),
        nn.Flatten(),
        nn.Linear(64, 4),
    )
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
    return model, torch.randn(SIZE, 3, 6, 6), torch.randint(0, 4, (SIZE,))


def language() -> Example:
    return Attention(), torch.randint(0, 11, (SIZE, 5)), torch.randint(0, 11, (SIZE, 5))


def kernels(
    wrapper: ModelWrapper,
    batch: Batch,
    names: list[str],
    coefficients: list[tuple[float, ...]],
    traces: Traces | None = None,
) -> tuple[PartialKernel, LoopKernel]:
    objective, state = Objective(wrapper), wrapper.state()
    directions = tuple({name: torch.randn_like(state[name]) for name in names} for _ in coefficients[0])
    block = PointBlock(directions=lambda: directions, coefficients=np.array(coefficients))
    session = Session(traces or Traces())
    return PartialKernel(objective, state, block, session=session), LoopKernel(objective, state, block)


def assert_same(wrapper: ModelWrapper, batch: Batch, names: list[str], traces: Traces | None = None) -> PartialKernel:
    points = [(0.3, -0.2), (0.3, 0.9), (-0.7, 0.1), (0.0, 0.0)]
    partial, loop = kernels(wrapper, batch, names, points, traces)
    with wrapper.evaluating():
        ours, expected = partial.terms(batch, slice(0, 4)), loop.terms(batch, slice(0, 4))
        again = partial.terms(batch, slice(0, 4))
    for name, (sums, counts) in expected.items():
        torch.testing.assert_close(ours[name][0], sums, rtol=1e-4, atol=1e-5)
        assert torch.equal(ours[name][1].expand_as(counts), counts)
        # A buffer that was overwritten too early would show the second time.
        assert torch.equal(again[name][0], ours[name][0])
    return partial


def kinds(
    make: Callable[[], tuple[nn.Module, Tensor, Tensor]], names: Callable[[str], bool]
) -> dict[str, Counter[str]]:
    model, inputs, target = make()
    wrapper = ModelWrapper(model.eval(), nn.CrossEntropyLoss(), (inputs, target))
    objective, state = Objective(wrapper), wrapper.state()
    with wrapper.evaluating():
        trace = Tracer().trace(objective, state, Batch(data=(inputs, target), num_samples=SIZE))
    parts = partition(trace, {name for name in wrapper.varying_names() if names(name)})
    found: dict[str, Counter[str]] = {"constant": Counter(), "affine": Counter(), "general": Counter()}
    for node in trace.nodes:
        if node.target is not operator.getitem:
            found[parts.kind(node)][
                str(node.target).split(".")[1] if "." in str(node.target) else str(node.target)
            ] += 1
    return found


# Cross-entropy over few classes: what runs at each point of it. The rest depends on the targets alone.
PICKED = dict.fromkeys(("transpose", "_log_softmax", "gather", "select", "neg", "where"), 1)


def test_the_first_layer_of_a_network_is_combined_and_not_run_again() -> None:
    found = kinds(mlp, lambda name: True)
    assert found["affine"] == {"linear": 1}
    assert found["general"] == {"relu": 2, "linear": 2} | PICKED


def test_what_lies_before_the_varied_layer_stands_still() -> None:
    found = kinds(mlp, lambda name: name.startswith("4."))
    assert found["constant"]["linear"] == 2
    assert found["affine"] == {"linear": 1, "transpose": 1}
    assert found["general"] == {name: 1 for name in PICKED if name != "transpose"}


def test_batchnorm_is_folded_into_convolutions_that_stay_affine() -> None:
    found = kinds(residual, lambda name: "norm" not in name and not name.startswith("1."))
    assert sum(counts["_native_batch_norm_legit_no_training"] for counts in found.values()) == 0
    # Of three convolutions the first reads the images alone; the weights of all are folded before the points.
    assert found["affine"]["conv2d"] == 1
    assert found["general"]["conv2d"] == 2
    assert found["general"]["mul"] == 0


def test_of_a_language_model_embeddings_are_combined_and_attention_is_run() -> None:
    found = kinds(language, lambda name: True)
    assert found["affine"]["embedding"] == 1
    assert found["general"]["scaled_dot_product_attention"] == 1


@pytest.mark.parametrize("make", [mlp, residual, language])
def test_every_choice_of_varied_tensors_gives_the_loops_numbers(make: Callable[[], Any]) -> None:
    model, inputs, target = make()
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(label_smoothing=0.1), (inputs, target))
    batch = Batch(data=(inputs, target), num_samples=SIZE)
    names = wrapper.varying_names()
    # As the slices of a run, all choices have one capture.
    traces = Traces()
    assert_same(wrapper, batch, names, traces)
    for name in names:
        assert_same(wrapper, batch, [name], traces)


UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu_": lambda x: F.relu_(x * 1),
    "gelu": F.gelu,
    "tanh then in place": lambda x: torch.tanh(x).mul_(2).add_(1),
    "softmax": lambda x: F.softmax(x, dim=-1),
    "transposed": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "sliced and joined": lambda x: torch.cat([x[:, 2:], x[:, :2]], dim=1),
    "sum over columns": lambda x: x - x.sum(dim=1, keepdim=True),
    "self product": lambda x: x * x,
    "plus its own rows reversed": lambda x: x + x.flip(1),
    "scaled add": lambda x: torch.add(x, F.relu(x), alpha=-3),
    "a constant beside it": lambda x: x + torch.arange(x.shape[1], dtype=x.dtype),
    "a view that is written": lambda x: (x.reshape(-1).relu() + x.reshape(-1)).view(x.shape),
    "where": lambda x: torch.where(torch.arange(x.shape[1]) > 1, x, 2 * x),
    "rounded": lambda x: x + torch.floor(x).detach(),
    "divided": lambda x: x / (1 + x.abs()),
    "clamped below zero": lambda x: x.clamp(min=-0.5),
    "expanded": lambda x: x.mean(dim=0, keepdim=True).expand_as(x) + x,
    "normalized": lambda x: F.layer_norm(x, (x.shape[1],)),
}


class Composed(nn.Module):
    """A linear layer, some operations, and another one."""

    def __init__(self, operations: list[str]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 5), nn.Linear(5, 3)
        self.scale = nn.Parameter(torch.randn(5))
        self.operations = operations

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x) * self.scale
        for name in self.operations:
            hidden = UNARY[name](hidden)
        return self.last(hidden)


@given(st.lists(st.sampled_from(sorted(UNARY)), min_size=1, max_size=4), st.sets(st.sampled_from(range(5)), min_size=1))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_compositions_of_operations_give_the_loops_numbers(operations: list[str], varied: set[int]) -> None:
    torch.manual_seed(len(operations))
    model = Composed(operations)
    inputs, target = torch.randn(SIZE, 5), torch.randn(SIZE, 3)
    wrapper = ModelWrapper(model, nn.MSELoss(), (inputs, target))
    names = [wrapper.varying_names()[index] for index in varied]
    assert_same(wrapper, Batch(data=(inputs, target), num_samples=SIZE), names)


def test_a_graph_is_used_for_batches_of_any_size() -> None:
    model, inputs, target = mlp()
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target))
    partial, loop = kernels(
        wrapper, Batch(data=(inputs, target), num_samples=SIZE), wrapper.varying_names(), [(0.5, 1.0)]
    )
    with wrapper.evaluating():
        for size in (SIZE, 4, 2):
            batch = Batch(data=(inputs[:size], target[:size]), num_samples=size)
            ours, expected = partial.terms(batch, slice(0, 1)), loop.terms(batch, slice(0, 1))
            torch.testing.assert_close(ours["loss"][0], expected["loss"][0])


class Branching(nn.Module):
    """What it computes depends on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        return out if self.layer.weight.sum().item() > 0 else -out


def test_a_branch_on_a_value_takes_the_loop_and_says_why() -> None:
    _, inputs, target = mlp()
    wrapper = ModelWrapper(Branching(), nn.CrossEntropyLoss(), (inputs, target))
    found = RandomDirectionSlicer(wrapper, settings=PARTIAL, progress=False).slice_1d(n_samples=3)
    assert found.evaluation["strategy"] == "loop"
    assert found.evaluation["reason"].startswith("partial: ")


def test_random_numbers_in_the_model_are_not_captured() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + torch.randn(x.shape[0], 4)

    _, inputs, target = mlp()
    wrapper = ModelWrapper(Noisy(), nn.CrossEntropyLoss(), (inputs, target))
    batch = Batch(data=(inputs, target), num_samples=SIZE)
    partial, _ = kernels(wrapper, batch, wrapper.varying_names(), [(0.5, 1.0)])
    with wrapper.evaluating(), pytest.raises(CannotEvaluateError, match="random numbers"):
        partial.terms(batch, slice(0, 1))


def test_curves_of_all_layers_share_what_stands_still() -> None:
    model, inputs, target = residual()
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target))
    total = sum(parameter.numel() for parameter in model.parameters())
    chosen = list(range(0, total, total // 12))
    ours = AxisParallelSlicer(wrapper, settings=PARTIAL, progress=False).slice(n_samples=4, params_to_slice=chosen)
    plain = AxisParallelSlicer(wrapper, settings=EvaluationSettings(strategy="loop"), progress=False).slice(
        n_samples=4, params_to_slice=chosen
    )
    np.testing.assert_allclose(ours.loss, plain.loss, rtol=2e-5, atol=1e-6)
    assert ours.evaluation["strategy"] == "partial"


def test_images_of_a_convolutional_network_may_have_any_layout() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 4),
    )
    inputs, target = torch.randn(20, 1, 8, 8), torch.randint(0, 4, (20,))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target))
    plain = EvaluationSettings(strategy="loop", batch_size=7)
    expected = RandomDirectionSlicer(wrapper, settings=plain, progress=False).slice_1d(n_samples=3)
    for batch_size in (20, 7):
        chosen = EvaluationSettings(strategy="partial", batch_size=batch_size)
        found = RandomDirectionSlicer(wrapper, settings=chosen, progress=False).slice_1d(n_samples=3)
        assert found.evaluation["strategy"] == "partial"
        np.testing.assert_allclose(found.loss, expected.loss, rtol=2e-5)


def test_a_short_job_does_not_pay_for_a_capture() -> None:
    model, inputs, target = mlp()
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target))
    found = RandomDirectionSlicer(wrapper, progress=False).slice_1d(n_samples=3)
    assert found.evaluation["strategy"] == "loop"
    assert "too short" in found.evaluation["reason"]


@pytest.mark.parametrize("make", [mlp, residual, language])
def test_blocks_that_move_the_same_tensors_may_take_turns(make: Callable[[], Example]) -> None:
    """They share what runs their points, and which is whose is not mixed up."""
    model, inputs, target = make()
    wrapper = ModelWrapper(model.eval(), nn.CrossEntropyLoss(), (inputs, target))
    objective, state, batch = Objective(wrapper), wrapper.state(), Batch(data=(inputs, target), num_samples=SIZE)
    session = Session(Traces())
    pairs = []
    for count in (1, 2, 2):
        steps = tuple({name: torch.randn_like(state[name]) for name in wrapper.varying_names()} for _ in range(count))
        points = np.random.default_rng(0).normal(size=(5, count))
        block = PointBlock(directions=lambda steps=steps: steps, coefficients=points)
        pairs.append((PartialKernel(objective, state, block, session=session), LoopKernel(objective, state, block)))
    with wrapper.evaluating():
        for points in (slice(0, 2), slice(2, 3), slice(3, 5)):
            for partial, loop in pairs:
                ours, expected = partial.terms(batch, points)["loss"][0], loop.terms(batch, points)["loss"][0]
                torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def recombined(make: Callable[[], Any]) -> Callable[[], tuple[PartialKernel, Tensor]]:
    """Makes kernels of one block that combine the weights alone, with their losses at its points."""
    model, inputs, target = make()
    wrapper = ModelWrapper(model.eval(), nn.CrossEntropyLoss(), (inputs, target))
    objective, state = Objective(wrapper), wrapper.state()
    directions = tuple({name: torch.randn_like(state[name]) for name in wrapper.varying_names()} for _ in range(2))
    coefficients = np.array([(0.3, -0.2), (0.3, 0.9), (-0.7, 0.1), (0.0, 0.0)])
    block = PointBlock(directions=lambda: directions, coefficients=coefficients)

    session = Session(Traces())

    def run() -> tuple[PartialKernel, Tensor]:
        kernel = PartialKernel(objective, state, block, session=session, recomputing=True)
        with wrapper.evaluating():
            return kernel, kernel.terms(Batch(data=(inputs, target), num_samples=SIZE), slice(0, 4))["loss"][0]

    return run


def test_a_points_buffers_are_gone_with_their_kernel() -> None:
    """Without a collection of cycles, for which those of a large model would have to wait."""
    run = recombined(mlp)
    # The capture's own frames stay for a while; later kernels have none.
    run()
    gc.disable()
    try:
        kernel, _ = run()
        buffers = [weakref.ref(view) for view in kernel._combiner.views.values()]
        del kernel
        assert buffers
        assert all(buffer() is None for buffer in buffers)
    finally:
        gc.enable()


@pytest.mark.parametrize("make", [mlp, residual, language])
def test_large_tensors_are_combined_where_they_lie_with_the_same_numbers(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recombined(make)
    _, together = run()
    monkeypatch.setattr("slicer_core.evaluate.combine._LARGE_BYTES", 1)
    kernel, apart = run()
    assert torch.equal(apart, together)
    assert len({view.untyped_storage().data_ptr() for view in kernel._combiner.views.values()}) > 1


def test_a_metric_is_not_written_over_the_loss_that_an_earlier_operation_left_in_its_place() -> None:
    model, data = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4)), (torch.randn(7, 6), torch.arange(7) % 4)
    # As the loss it picks one score of each sample, so both want memory of the same size.
    metrics = {"score": lambda output, target: output.gather(1, target[:, None])}
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), data, metrics=metrics)
    found = RandomDirectionSlicer(wrapper, settings=PARTIAL, progress=False).slice_1d(n_samples=3)
    assert (found.evaluation["strategy"], found.evaluation.get("reason")) == ("partial", None)
