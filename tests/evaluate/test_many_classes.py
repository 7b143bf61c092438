"""A loss over so many classes that its scores are never held all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate import epilogue, heads

WORDS = 9000
BatchLoss = Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor]


class Square(nn.Module):
    """Scores whose classes are in dimension 1 and not what a layer puts last, of which there are as many."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(4, 3), nn.Linear(3, 16, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(x)))


class Words(nn.Module):
    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.words, self.inner = nn.Embedding(WORDS, 6), nn.Linear(6, 8)
        self.head = nn.Linear(8, WORDS, bias=bias)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(self.words(words))))


def flat(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    words, target = batch
    return F.cross_entropy(model(words).flatten(0, 1), target.flatten(), reduction="none").view(target.shape).mean(1)


def view(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    words, target = batch
    losses = F.cross_entropy(model(words).view(-1, WORDS), target.reshape(-1), reduction="none", ignore_index=7)
    return losses.view(target.shape).mean(1)


def next_word(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    words, target = batch
    scores, target = model(words).float()[:, :-1], target[:, 1:]
    return F.cross_entropy(scores.flatten(0, 1), target.flatten(), reduction="none").view(target.shape).sum(1)


def classes_second(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    words, target = batch
    weight = torch.linspace(0.5, 1.5, WORDS)
    return F.cross_entropy(model(words).transpose(1, 2), target, weight=weight, reduction="none").mean(1)


def smoothed(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    words, target = batch
    scores = model(words).flatten(0, 1)
    return F.cross_entropy(scores, target.flatten(), reduction="none", label_smoothing=0.1).view(target.shape).mean(1)


def read_twice(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    words, target = batch
    scores = model(words).flatten(0, 1)
    losses = F.cross_entropy(scores, target.flatten(), reduction="none")
    return (losses + 0.01 * scores.square().mean(1)).view(target.shape).mean(1)


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each epilogue that is made, whether the head is fused."""
    seen: list[bool] = []

    def noting(*given: Any) -> Any:
        found = heads.fused_heads(*given)
        seen.append(bool(found))
        return found

    monkeypatch.setattr(epilogue, "fused_heads", noting)
    return seen


def data() -> tuple[Tensor, Tensor]:
    words = torch.randint(WORDS, (5, 8))
    target = torch.randint(WORDS, (5, 8))
    target[0, :3], target[1, 2] = 7, WORDS - 1
    return words, target


def plane(model: nn.Module, loss: BatchLoss, **options: Any) -> Any:
    wrapper = ModelWrapper(model, batch_loss=loss, train_data=data())
    settings = EvaluationSettings(batch_size=3, **options)
    return RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_2d(grid_size=3)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("loss", "is_fused"),
    [(flat, True), (view, True), (next_word, True), (classes_second, True), (smoothed, False), (read_twice, False)],
)
def test_the_losses_are_the_loops(loss: BatchLoss, is_fused: bool, bias: bool, fused: list[bool]) -> None:
    model = Words(bias=bias)
    torch.manual_seed(1)
    found = plane(model, loss, strategy="partial")
    assert found.evaluation["strategy"] == "partial", found.evaluation.get("reason")
    assert set(fused) == {is_fused}
    torch.manual_seed(1)
    expected = plane(model, loss, strategy="loop")
    np.testing.assert_allclose(found.loss, expected.loss, rtol=2e-6)


def test_where_only_the_head_moves_its_scores_are_combined(fused: list[bool]) -> None:
    wrapper = ModelWrapper(Words(), batch_loss=flat, train_data=data())
    settings = EvaluationSettings(strategy="partial")
    slicer = RandomDirectionSlicer(wrapper, settings=settings, progress=False)
    found = slicer.slice_1d(n_samples=3, params=("head.*",))
    assert set(fused) == {False}
    assert np.isfinite(found.loss).all()


def test_classes_that_are_not_last_are_left_alone(fused: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none").mean(1)

    monkeypatch.setattr(heads, "_MANY_CLASSES", 16)
    model, given = Square(), (torch.randn(3, 16, 4), torch.randint(16, (3, 16)))
    found, expected = (
        RandomDirectionSlicer(
            ModelWrapper(model, batch_loss=loss, train_data=given),
            settings=EvaluationSettings(strategy=strategy),
            progress=False,
        ).slice_1d(n_samples=3)
        for strategy in ("partial", "loop")
    )
    assert set(fused) == {False}
    np.testing.assert_allclose(found.loss, expected.loss, rtol=2e-6)


@pytest.mark.parametrize("rows", [1, 1500])
@pytest.mark.parametrize("shift", [0.0, 300.0, float("inf"), float("-inf"), float("nan")])
def test_a_score_that_is_not_finite_does_what_torchs_own_does(shift: float, rows: int) -> None:
    x, weight = torch.randn(rows, 8), torch.randn(WORDS, 8)
    bias = torch.randn(WORDS)
    bias[1234] += shift
    target = torch.randint(WORDS, (rows,))
    expected = F.cross_entropy(F.linear(x, weight, bias), target, reduction="none")
    found = heads._BlockwiseLoss()(heads.Scores(x, weight, bias, torch.float32), target)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4, equal_nan=True)


def test_an_ignored_row_that_is_not_finite_counts_for_nothing() -> None:
    x, weight = torch.randn(4, 8), torch.randn(WORDS, 8)
    x[2] = torch.nan
    target = torch.tensor([1, 2, -100, 4])
    found = heads._BlockwiseLoss()(heads.Scores(x, weight, None, torch.float32), target)
    assert found[2] == 0
    assert found[[0, 1, 3]].isfinite().all()
