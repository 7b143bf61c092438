"""Standard errors against the formulas on explicit residuals of each sample."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import EvaluationSettings, ModelWrapper
from slicer_core.errors import StoreError
from slicer_core.evaluate import PointSums, evaluate
from slicer_core.evaluate.groups import NUM_GROUPS, GroupSums, places
from slicer_core.plan import PointBlock

ALPHAS = np.array([[-0.5], [0.0], [0.25], [1.0]])


def direction(model: nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {name: torch.randn(p.shape, generator=generator) for name, p in model.named_parameters()}


def sums_along(wrapper: ModelWrapper, batch_size: int | None = None, strategy: Any = "loop") -> PointSums:
    settings = EvaluationSettings(batch_size=batch_size, dtype=torch.float64, strategy=strategy)
    vectors = (direction(wrapper.model),)
    block = PointBlock(directions=lambda: vectors, coefficients=ALPHAS)
    data = wrapper.split("train", batch_size)
    return evaluate(wrapper, data, [block], wrapper.state(), settings=settings).sums["loss"]


def outputs(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """The network's output at each point, float64, the center last."""
    found = []
    for alpha in [*ALPHAS[:, 0], 0.0]:
        moved = copy.deepcopy(model).double().eval()
        with torch.no_grad():
            for name, step in direction(model).items():
                moved.get_parameter(name).add_(step.double(), alpha=alpha)
            found.append(moved(inputs.double() if inputs.is_floating_point() else inputs))
    return found


def brute_force(s: np.ndarray, s0: np.ndarray, c: np.ndarray) -> tuple[float, float, float]:
    """L, its standard error, and that of the difference to the center, from s and c of each entry."""
    # Samples whose targets are ignored say nothing.
    n = np.count_nonzero(c)
    residual, center_residual = s - s.sum() / c.sum() * c, s0 - s0.sum() / c.sum() * c
    paired = residual - center_residual
    error, paired_error = (np.sqrt(n / (n - 1) * (r**2).sum()) / c.sum() for r in (residual, paired))
    return s.sum() / c.sum(), error, paired_error


def check(found: PointSums, entries: list[np.ndarray], counts: np.ndarray) -> None:
    *points, center = entries
    expected = np.array([brute_force(s, center, counts) for s in points])
    np.testing.assert_allclose(found.values, expected[:, 0], rtol=1e-12)
    np.testing.assert_allclose(found.stderr, expected[:, 1], rtol=1e-9)
    # At the center the difference is exactly zero; its rounding is that of sums of squares.
    np.testing.assert_allclose(found.difference_stderr, expected[:, 2], rtol=1e-7, atol=1e-8)
    assert found.num_entries == len(counts)


@pytest.mark.parametrize("strategy", ["loop", "vmap", "partial"])
@pytest.mark.parametrize("batch_size", [5, 22])
def test_a_mean_over_samples(batch_size, strategy, network) -> None:
    net = network("mlp")
    found = sums_along(ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data), batch_size, strategy)
    losses = [F.cross_entropy(out, net.classes, reduction="none").numpy() for out in outputs(net.model, net.inputs)]
    check(found, losses, np.ones(22))
    assert found.entries == "samples"
    # For equal counts it is the ordinary standard error of a mean.
    np.testing.assert_allclose(found.stderr, [loss.std(ddof=1) / np.sqrt(22) for loss in losses[:-1]], rtol=1e-9)


def test_weights_are_counts(network) -> None:
    net = network("mlp")
    weight = torch.tensor([0.3, 1.0, 4.0])
    loss_fn = nn.CrossEntropyLoss(weight=weight, ignore_index=1)
    found = sums_along(ModelWrapper(net.model, loss_fn, net.data), 7)
    counts = torch.where(net.classes == 1, 0.0, weight[net.classes].double()).numpy()
    losses = [
        F.cross_entropy(out, net.classes, weight.double(), ignore_index=1, reduction="none").numpy()
        for out in outputs(net.model, net.inputs)
    ]
    check(found, losses, counts)


def test_a_sequence_is_one_sample(network) -> None:
    net = network("attention")
    targets = net.classes.clone()
    targets[::3, 2:] = -100
    found = sums_along(ModelWrapper(net.model, nn.CrossEntropyLoss(), (net.inputs, targets)), 7)
    losses = [
        F.cross_entropy(out, targets, reduction="none").sum(dim=1).numpy() for out in outputs(net.model, net.inputs)
    ]
    check(found, losses, (targets != -100).sum(dim=1).double().numpy())


@pytest.mark.parametrize("is_total", [False, True])
def test_the_error_of_a_difference_is_that_of_leaving_out_one_sample_after_another(is_total: bool) -> None:
    """With counts as unequal as sentences, against the jackknife, which knows nothing of residuals."""
    random = np.random.default_rng(0)
    counts = random.integers(1, 60, size=3000).astype(float)
    center = counts * random.gamma(2.0, 0.5, size=3000)
    points = [0.4 * center + counts * random.gamma(2.0, 0.3, size=3000), center + random.normal(2.0, 9.0, size=3000)]
    sums = PointSums(
        total=np.array([s.sum() for s in points]),
        squares=np.array([s @ s for s in points]),
        with_counts=np.array([s @ counts for s in points]),
        with_center=np.array([s @ center for s in points]),
        center_total=center.sum(),
        center_squares=center @ center,
        center_with_counts=center @ counts,
        count=counts.sum(),
        count_squares=counts @ counts,
        num_entries=3000,
        counted=3000,
        is_total=is_total,
    )
    scale = counts.sum() if is_total else 1.0
    jackknife = []
    for s in points:
        without_one = scale * ((s - center).sum() - (s - center)) / (counts.sum() - counts)
        jackknife.append(np.sqrt((3000 - 1) * without_one.var()))
    np.testing.assert_allclose(sums.difference_stderr, jackknife, rtol=2e-3)


def test_over_all_ways_to_deal_samples_to_groups_the_error_of_points_together_is_that_of_their_residuals() -> None:
    """3(L₀ - L₁) + L₂ of 300 samples with counts, dealt 4,000 times: the mean of squares, within 4 of its errors."""
    random = np.random.default_rng(0)
    counts = random.integers(1, 9, size=300).astype(float)
    center, *points = (counts * random.gamma(2.0, 0.5, size=(4, 300))).astype(float)
    weights = np.array([3.0, -3.0, 1.0])
    means, center_mean = np.array([s.sum() for s in points]) / counts.sum(), center.sum() / counts.sum()
    paired = sum(
        w * ((s - mean * counts) - (center - center_mean * counts))
        for w, s, mean in zip(weights, points, means, strict=True)
    )
    found = []
    for _ in range(4000):
        dealt = np.eye(NUM_GROUPS)[random.integers(NUM_GROUPS, size=300)]
        groups = GroupSums(
            points=np.stack(points) @ dealt, center=center @ dealt, counts=counts @ dealt, sizes=dealt.sum(axis=0)
        )
        found.append(((weights @ groups.differences(means, center_mean)) ** 2).sum())
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - (paired**2).sum()) < 4 * error
    assert error < 0.01 * np.mean(found)


@pytest.mark.parametrize("strategy", ["loop", "vmap", "partial", "streaming"])
def test_groups_of_samples_do_not_depend_on_batches_or_strategy(strategy, network) -> None:
    net = network("mlp")
    found = sums_along(ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data), 7, strategy)
    losses = [F.cross_entropy(out, net.classes, reduction="none").numpy() for out in outputs(net.model, net.inputs)]
    dealt = np.append(np.stack(losses), np.zeros((len(losses), 1)), axis=1)[:, places(0, 22)].sum(axis=2)
    assert found.groups is not None
    np.testing.assert_allclose(found.groups.points, dealt[:-1], rtol=1e-9)
    np.testing.assert_allclose(found.groups.center, dealt[-1], rtol=1e-9)
    assert found.groups.sizes.sum() == 22
    np.testing.assert_array_equal(found.groups.counts, found.groups.sizes)


def test_a_total_has_the_error_of_a_total(network) -> None:
    net = network("mlp")
    total = sums_along(ModelWrapper(net.model, nn.CrossEntropyLoss(reduction="sum"), net.data), 6)
    mean = sums_along(ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data), 6)
    for name in ("values", "stderr", "difference_stderr"):
        np.testing.assert_allclose(getattr(total, name), 22 * getattr(mean, name), rtol=1e-12)
    assert total.center_value == pytest.approx(22 * mean.center_value)


def test_where_only_means_of_batches_exist_batches_are_the_entries(network) -> None:
    net = network("mlp")
    found = sums_along(ModelWrapper(net.model, lambda o, t: F.cross_entropy(o, t), net.data), 5)
    starts = range(0, 22, 5)
    sizes = np.array([len(net.classes[start : start + 5]) for start in starts], dtype=float)
    entries = []
    for out in outputs(net.model, net.inputs):
        losses = F.cross_entropy(out, net.classes, reduction="none").numpy()
        entries.append(np.array([losses[start : start + 5].sum() for start in starts]))
    check(found, entries, sizes)
    assert found.entries == "batches"


def test_one_entry_has_no_standard_error(network) -> None:
    net = network("mlp")
    found = sums_along(ModelWrapper(net.model, lambda o, t: F.cross_entropy(o, t), net.data))
    assert found.num_entries == 1
    assert np.isnan(found.stderr).all()
    assert np.isnan(found.difference_stderr).all()
    assert np.isfinite(found.values).all()


def test_one_sample_that_counts_has_none_either(network) -> None:
    net = network("mlp")
    targets = torch.where(torch.arange(22) == 4, net.classes, -100)
    found = sums_along(ModelWrapper(net.model, nn.CrossEntropyLoss(), (net.inputs, targets)), 5)
    assert (found.num_entries, found.counted) == (22, 1)
    assert np.isnan(found.stderr).all()
    assert np.isnan(found.difference_stderr).all()
    assert found.grouped_differences is None
    again = PointSums.from_bytes(found.to_bytes())
    assert (again.num_entries, again.counted) == (22, 1)
    # A tile of an older release.
    old = found.to_bytes().replace(b'"num_counted": 1, ', b"")
    assert PointSums.from_bytes(old).counted == 22


def test_equal_samples_have_an_error_of_zero() -> None:
    model = nn.Linear(2, 1)
    wrapper = ModelWrapper(model, nn.MSELoss(), (torch.ones(6, 2), torch.zeros(6, 1)))
    np.testing.assert_allclose(sums_along(wrapper).stderr, 0, atol=1e-7)


def point_sums(**changes: Any) -> PointSums:
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, 0.1])
    fields: dict[str, Any] = {
        "total": values,
        "squares": values[::-1],
        "with_counts": values * 3,
        "with_center": np.arange(6.0),
        "center_total": 0.1,
        "center_squares": float("inf"),
        "center_with_counts": float("nan"),
        "count": 1e300,
        "count_squares": 5e-324,
        "num_entries": 2**40,
        "counted": 2**40,
        "is_total": True,
        "entries": "batches",
    }
    return PointSums(**(fields | changes))


def test_sums_come_back_from_bytes_bit_for_bit() -> None:
    rows = np.arange(9.0 * NUM_GROUPS).reshape(9, NUM_GROUPS)
    groups = GroupSums(points=rows[:6], center=rows[6], counts=rows[7], sizes=rows[8])
    for sums in (point_sums(), point_sums(is_total=False, entries="samples"), point_sums(groups=groups)):
        again = PointSums.from_bytes(sums.to_bytes())
        for name in ("total", "squares", "with_counts", "with_center"):
            assert getattr(again, name).astype("<f8").tobytes() == getattr(sums, name).astype("<f8").tobytes(), name
        assert (again.groups is None) == (sums.groups is None)
        if again.groups is not None:
            for name in ("points", "center", "counts", "sizes"):
                np.testing.assert_array_equal(getattr(again.groups, name), getattr(groups, name))
        for name in ("center_total", "center_squares", "center_with_counts", "count", "count_squares"):
            assert np.float64(getattr(again, name)).tobytes() == np.float64(getattr(sums, name)).tobytes(), name
        assert (again.num_entries, again.is_total, again.entries) == (sums.num_entries, sums.is_total, sums.entries)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data.replace(b"points", b"pionts"),
        lambda data: b"[]" + data[data.index(b"\n") :],
        lambda data: data.replace(b'"0x1', b'"0y1', 1),
        lambda data: b"\xff" + data,
        lambda data: data.replace(b"p-4", b"p+99999", 1),
    ],
)
def test_other_bytes_are_a_store_error(damage) -> None:
    data = point_sums().to_bytes()
    assert damage(data) != data
    with pytest.raises(StoreError, match="can't be read"):
        PointSums.from_bytes(damage(data))


@pytest.mark.filterwarnings("error")
def test_sums_that_are_not_finite_give_no_warnings() -> None:
    sums = point_sums(count=0.0, is_total=False)
    assert not np.isfinite(sums.values[:3]).any()
    assert np.isnan(sums.stderr[0])
    assert np.isnan(sums.difference_stderr).all()
    assert np.isinf(sums.center_value)
