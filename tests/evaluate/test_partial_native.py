"""The strategy that runs operations in C, beside the loop."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import AxisParallelSlicer, EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate import capturing, epilogue, in_c, trials
from slicer_core.evaluate.in_c import layer_norm, linear

SETTINGS = EvaluationSettings(strategy="partial-native", batch_size=8)
COMPILED = pytest.mark.skipif(linear.compiled() is None, reason="there is no C compiler")


class Block(nn.Module):
    """Causal attention and a network with GELU, with shortcuts; its projection keeps its weight the other way round."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.together = nn.Linear(width, 3 * width)
        self.weight = nn.Parameter(torch.randn(width, width) / width)
        self.bias = nn.Parameter(torch.randn(width))
        self.network = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        parts = self.together(self.first(x)).view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts.unbind(0), is_causal=True)
        rows = mixed.transpose(1, 2).reshape(n * tokens, width)
        x = x + torch.addmm(self.bias, rows, self.weight).view(n, tokens, width)
        return x + self.network(self.second(x))


class Transformer(nn.Module):
    """Two blocks on words, and a last layer of a few classes for each."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(13, 64)
        self.blocks = nn.Sequential(Block(64, 2), Block(64, 4))
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 7)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.words(words)))).mean(1)


def transformer() -> ModelWrapper:
    data = torch.randint(13, (20, 11)), torch.randint(7, (20,))
    return ModelWrapper(Transformer(), nn.CrossEntropyLoss(), data)


def seen_replaced(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[bool, str | None]]:
    """The operations that are run by functions of our own from now on, with what is added and which activation."""
    seen: dict[str, tuple[bool, str | None]] = {}

    class Noted(epilogue._Plan):
        def source(self) -> Any:
            made = super().source()
            seen.update({node.name: (tail.added is not None, tail.activation) for node, tail in self._tails.items()})
            return made

    monkeypatch.setattr(epilogue, "_Plan", Noted)
    return seen


@COMPILED
def test_a_transformer_is_run_in_c_and_has_the_loops_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper, seen = transformer(), seen_replaced(monkeypatch)
    monkeypatch.setattr(linear, "_MIN_PRODUCTS", 1)
    monkeypatch.setattr(layer_norm, "_MIN_NUMBERS", 1)

    def plane(settings: EvaluationSettings) -> Any:
        return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_2d(grid_size=(3, 4), seed=2)

    found, loop = plane(SETTINGS), plane(EvaluationSettings(strategy="loop"))
    assert found.evaluation["strategy"] == "partial-native", found.evaluation.get("reason")
    np.testing.assert_allclose(found.loss, loop.loss, rtol=1e-5)
    kinds = {kind: [tail for name, tail in seen.items() if name.startswith(kind)] for kind in ("linear", "addmm")}
    # Three layers a block with one that is turned, and the last.
    assert sorted(kinds["linear"], key=str) == [(False, "gelu")] * 2 + [(False, None)] * 3 + [(True, None)] * 2
    assert len(kinds["addmm"]) == 2
    assert sum(name.startswith("scaled_dot_product") for name in seen) == 2
    assert sum(name.startswith("layer_norm") for name in seen) == 5


@COMPILED
def test_weights_that_stay_are_laid_out_once_where_there_is_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper, laid = transformer(), []
    monkeypatch.setattr(linear, "_MIN_PRODUCTS", 1)
    weights_of = linear.CompiledLinear.weights_of

    def noted(layer: Any, weight: Tensor, *, kept: bool = False) -> Tensor:
        laid.append(kept)
        return weights_of(layer, weight, kept=kept)

    monkeypatch.setattr(linear.CompiledLinear, "weights_of", noted)

    def lines(settings: EvaluationSettings) -> Any:
        slicer = AxisParallelSlicer(wrapper, settings=settings, progress=False)
        return slicer.slice(bounds=(-1.0, 1.0), n_samples=4, params_to_slice=[13 * 64 + 5])

    loop = lines(EvaluationSettings(strategy="loop"))
    for limit, are_kept in ((2**26, True), (0, False)):
        monkeypatch.setattr(linear, "_KEPT_BYTES", limit)
        laid.clear()
        found = lines(SETTINGS)
        assert found.evaluation["strategy"] == "partial-native", found.evaluation.get("reason")
        np.testing.assert_allclose(found.loss, loop.loss, rtol=1e-5)
        assert any(laid) == are_kept
        assert are_kept != (False in laid)


@COMPILED
def test_what_does_not_fit_the_memory_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    found_in_c: list[tuple[int, int]] = []
    wrapper, numbers = transformer(), [0, 0]
    plain = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(strategy="loop"), progress=False)
    expected = plain.slice_1d(n_samples=4, seed=2).loss
    monkeypatch.setattr(linear, "_MIN_PRODUCTS", 1)
    for limit in (2**30, 120_000, 0):
        for number, name in enumerate(("linear_layers", "attentions")):
            kind = getattr(in_c, name)

            def limited(*args: Any, memory: int, given: Any = (number, kind, limit), **more: Any) -> Any:
                number, kind, limit = given
                made = kind(*args, memory=min(memory, limit), **more)
                numbers[number] = len(made)
                return made

            monkeypatch.setattr(in_c, name, limited)
        found = RandomDirectionSlicer(wrapper, settings=SETTINGS, progress=False).slice_1d(n_samples=4, seed=2)
        assert found.evaluation["strategy"] == "partial-native"
        np.testing.assert_allclose(found.loss, expected, rtol=1e-5)
        found_in_c.append((numbers[0], numbers[1]))
    every, some, none = found_in_c
    # Of 64 inputs, weights of 64 outputs fit, and no more.
    assert 0 < some[0] < every[0]
    assert every[1] == 2
    assert none == (0, 0)


class Plain(nn.Module):
    """Layers whose inputs move affinely, with what may lie between."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.first, self.second, self.third = nn.Linear(9, 32), nn.Linear(32, 20), nn.Linear(32, 20)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        if self.case == "a ReLU":
            return self.second(y.relu())
        if self.case == "a GELU":
            return self.second(F.gelu(y))
        if self.case == "nothing":
            return self.second(y)
        if self.case == "another GELU":
            return self.second(F.gelu(y, approximate="tanh"))
        if self.case == "another activation":
            return self.second(y.tanh())
        if self.case == "products with itself":
            return F.linear(y, y)[:, :20]
        if self.case == "products of what is left":
            return F.linear(y.relu(), y.relu())[:, :20]
        if self.case == "of the same ReLU":
            z = y.relu()
            return F.linear(z, z)[:, :20]
        if self.case == "read twice":
            return self.second(y.relu()) + self.third(y)
        z = y.relu()
        return self.second(z) + self.third(z)


@COMPILED
@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize(
    ("case", "is_left_out"),
    [
        *(("a ReLU", True), ("a GELU", True), ("nothing", True), ("another GELU", False)),
        *(("another activation", False), ("read twice", False), ("the ReLU is read twice", False)),
        *(("products with itself", False), ("products of what is left", False), ("of the same ReLU", False)),
    ],
)
def test_what_moves_affinely_is_combined_where_only_a_layer_reads_it(
    case: str, is_left_out: bool, dimensions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = []
    monkeypatch.setattr(linear, "_MIN_PRODUCTS", 1)
    leave_out = linear.Combiner.leave_out
    monkeypatch.setattr(
        linear.Combiner, "leave_out", lambda self, node: left_out.append(node.name) or leave_out(self, node)
    )
    data, is_coupled = (torch.randn(50, 9), torch.randint(20, (50,))), "product" in case or "same" in case
    wrapper = ModelWrapper(Plain(case), nn.CrossEntropyLoss(), data, batch_coupled=is_coupled)

    def slices(settings: EvaluationSettings) -> Any:
        slicer = RandomDirectionSlicer(wrapper, settings=settings, progress=False)
        # The last batch has two samples.
        return slicer.slice_1d(n_samples=5) if dimensions == 1 else slicer.slice_2d(grid_size=(3, 4), seed=2)

    size = 50 if is_coupled else 24
    found = slices(dataclasses.replace(SETTINGS, batch_size=size))
    loop = slices(EvaluationSettings(strategy="loop", batch_size=size))
    assert found.evaluation["strategy"] == "partial-native", found.evaluation.get("reason")
    np.testing.assert_allclose(found.loss, loop.loss, rtol=1e-5)
    assert bool(left_out) == is_left_out


@COMPILED
@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_attention_with_a_mask_is_torchs_own(mask: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.layer, self.head = nn.Embedding(13, 32), nn.Linear(32, 32), nn.Linear(32, 3)
            seen = torch.ones(9, 9).tril().bool()
            self.register_buffer("seen", seen if mask == "bool" else seen.float().log() if mask == "float" else None)

        def forward(self, words: Tensor) -> Tensor:
            x = self.layer(self.words(words)).relu().unsqueeze(1)
            return self.head(F.scaled_dot_product_attention(x, x, x, attn_mask=self.seen).mean((1, 2)))

    data = torch.randint(13, (20, 9)), torch.randint(3, (20,))
    wrapper, seen = ModelWrapper(Masked(), nn.CrossEntropyLoss(), data), seen_replaced(monkeypatch)

    def curve(settings: EvaluationSettings) -> Any:
        return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=4, seed=2)

    np.testing.assert_allclose(curve(SETTINGS).loss, curve(EvaluationSettings(strategy="loop")).loss, rtol=1e-5)
    assert any(name.startswith("scaled_dot_product") for name in seen) == (mask is None)


def ranked(output: Tensor, target: Tensor) -> Tensor:
    """Of scores that lie elsewhere at each point."""
    return F.cross_entropy(output.sort(1).values, target, reduction="none")


def by_hand(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy as it is rewritten."""
    return -torch._log_softmax(output.t(), 0, False).gather(0, target[None])[0]


def read_between(output: Tensor, target: Tensor) -> Tensor:
    """What lies between scores and losses is read again."""
    logs = torch._log_softmax(output.t(), 0, False)
    return -logs.gather(0, target[None])[0] + 0.1 * logs.square().sum(0)


@COMPILED
@pytest.mark.parametrize("moves", ["all", "scores"])
@pytest.mark.parametrize(
    ("loss_fn", "classes", "is_in_c"),
    [
        (nn.CrossEntropyLoss(), 5, True),
        (nn.CrossEntropyLoss(weight=torch.rand(5) + 0.5, ignore_index=2), 5, True),
        (nn.CrossEntropyLoss(), 65, False),
        *((ranked, 5, True), (by_hand, 5, True), (read_between, 5, False)),
    ],
)
def test_cross_entropy_over_few_classes_is_in_c(
    loss_fn: Any, classes: int, is_in_c: bool, moves: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, classes))
    data = torch.randn(50, 6), torch.randint(classes, (50,))
    # The last batch has two samples, and accuracy reads the scores too.
    metrics = {"accuracy": lambda output, target: (output.argmax(1) == target).float()}
    wrapper, seen = ModelWrapper(model, loss_fn, data, metrics=metrics), seen_replaced(monkeypatch)

    def curve(settings: EvaluationSettings) -> Any:
        slicer = RandomDirectionSlicer(wrapper, settings=settings, progress=False)
        return slicer.slice_1d(n_samples=5, params=("2.*",) if moves == "scores" else ())

    found = curve(dataclasses.replace(SETTINGS, batch_size=24))
    loop = curve(EvaluationSettings(strategy="loop", batch_size=24))
    assert found.evaluation["strategy"] == "partial-native", found.evaluation.get("reason")
    np.testing.assert_allclose(found.loss, loop.loss, rtol=1e-5)
    assert any(name.startswith("neg") for name in seen) == is_in_c


@pytest.mark.parametrize("has_threads", [False, True])
def test_in_processes_of_several_threads_and_in_other_dtypes_it_is_torchs(
    has_threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, wrapper = seen_replaced(monkeypatch), transformer()
    monkeypatch.setattr(linear, "_MIN_PRODUCTS", 1)
    if has_threads:
        monkeypatch.setattr(in_c.torch, "get_num_threads", lambda: 2)
    settings = SETTINGS if has_threads else dataclasses.replace(SETTINGS, dtype=torch.float64)
    found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=4)
    assert found.evaluation["strategy"] == "partial-native"
    assert not seen


def test_models_without_such_operations_say_so() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.Flatten(), nn.Softmax(1))
    wrapper = ModelWrapper(model, nn.MSELoss(), (torch.randn(6, 2, 4), torch.randn(6, 9)))
    found = RandomDirectionSlicer(wrapper, settings=SETTINGS, progress=False).slice_1d(n_samples=3)
    assert found.evaluation["strategy"] == "loop"
    assert "in C" in found.evaluation["reason"]


@pytest.mark.parametrize(
    ("has_compiler", "is_long", "is_kept", "is_tried"),
    [(True, True, False, True), (True, False, True, True), (True, False, False, False), (False, True, False, False)],
)
def test_auto_tries_it_where_it_is_at_hand_or_worth_compiling(
    has_compiler: bool, is_long: bool, is_kept: bool, is_tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_compiler and linear.compiled() is None:
        pytest.skip("there is no C compiler")
    monkeypatch.setattr(trials, "_trial_seconds", lambda job: 60.0)
    monkeypatch.setattr(capturing, "_RECORDING_SECONDS", -1e9)
    monkeypatch.setattr(trials, "_TRIAL_SHARE", 1e-6)
    monkeypatch.setattr(in_c, "_WORTH_SECONDS", 0.0)
    monkeypatch.setattr(in_c, "_WORTH_COMPILING_SECONDS", 0.0 if is_long else 1e9)
    monkeypatch.setattr(in_c, "is_kept", lambda source: is_kept)
    if not has_compiler:
        monkeypatch.setattr(linear, "compiled", lambda: None)
    found = RandomDirectionSlicer(transformer(), progress=False).slice_1d(n_samples=5)
    assert any(label.startswith("partial-native") for label in found.evaluation["trials"]) == is_tried


@COMPILED
@pytest.mark.parametrize("share", [0.5, 2.0])
def test_it_is_timed_in_turns_with_what_captures_alike(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_trial_seconds", lambda job: 60.0)
    monkeypatch.setattr(trials, "_TRIAL_SHARE", 1e-6)
    monkeypatch.setattr(capturing, "_RECORDING_SECONDS", -1e9)
    monkeypatch.setattr(in_c, "_WORTH_SECONDS", 0.0)
    monkeypatch.setattr(in_c, "is_kept", lambda source: True)

    def turns(entrants: Any, *, workers: int, points: int) -> list[float]:
        # One and the same part, in a process of its own.
        (left, part), (right, other) = entrants
        assert (type(left()).__name__, type(right()).__name__) == ("PartialKernel", "PartialNativeKernel")
        assert part is other
        assert workers == 1
        return [7.0, 7.0 * share]

    monkeypatch.setattr(trials, "timed_in_turns", turns)
    found = RandomDirectionSlicer(transformer(), progress=False).slice_1d(n_samples=5)
    timings = found.evaluation["trials"]
    label = next(label for label in timings if label.startswith("partial-native"))
    # Three digits are told.
    assert timings[label] == pytest.approx(share * timings[label.replace("partial-native", "partial")], rel=1e-2)
