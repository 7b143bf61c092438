"""The value at the center is the user's own loss on the whole split in one batch, or the loss is refused."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import EvaluationSettings, LossSum, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import DataError
from slicer_core.evaluate import evaluate
from slicer_core.plan import PointBlock
from slicer_core.slices import Slice

# The two halves differ much, so that what couples them shows.
SORTED = torch.arange(110.0).reshape(22, 5) / 50
SIZES = [1, 4, 7, 22, 100]


def center_loss(found: Slice, split: str = "train") -> float:
    assert found.center is not None
    return found.center.loss[split]


def center(wrapper: ModelWrapper, batch_size: int | None = None, **settings: Any) -> float:
    chosen = EvaluationSettings(batch_size=batch_size, **settings)
    found = RandomDirectionSlicer(wrapper, settings=chosen, progress=False).slice_1d(n_samples=3)
    value = center_loss(found)
    # The middle of the range is the center, whose samples are added up in another order.
    assert found.loss[1] == pytest.approx(value, rel=1e-14)
    return value


def whole(model: nn.Module, loss_fn: Any, data: tuple[Tensor, Tensor]) -> float:
    with torch.no_grad():
        return float(loss_fn(copy.deepcopy(model).eval()(data[0]), data[1]))


@pytest.mark.parametrize("batch_size", SIZES)
@pytest.mark.parametrize(
    "loss_fn",
    [
        nn.CrossEntropyLoss(weight=torch.tensor([0.1, 1.0, 5.0]), ignore_index=1, label_smoothing=0.1),
        nn.CrossEntropyLoss(reduction="sum"),
        lambda output, target: F.cross_entropy(output, target),
        lambda output, target: F.cross_entropy(output, target, reduction="none"),
    ],
    ids=["weighted", "sum", "own mean", "own samples"],
)
def test_any_batch_size_gives_the_value_of_one_batch(loss_fn, batch_size, network) -> None:
    net = network("mlp")
    expected = loss_fn(copy.deepcopy(net.model).eval()(net.inputs), net.classes).mean().item()
    assert center(ModelWrapper(net.model, loss_fn, net.data), batch_size) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("strategy", ["loop", "partial", "partial-vmap"])
@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_a_mean_that_kept_a_dimension_counts_the_samples_of_its_batch(shape, strategy, network) -> None:
    """Batches of 8, 8 and 6, whose halves are alike, so that they can't tell how large the batches are."""
    net = network("mlp")
    expected = whole(net.model, nn.CrossEntropyLoss(), net.data)
    wrapper = ModelWrapper(net.model, lambda output, target: F.cross_entropy(output, target).reshape(shape), net.data)
    assert center(wrapper, 8, strategy=strategy) == pytest.approx(expected, rel=2e-6)


def test_one_loss_a_sample_of_torchs_own_is_averaged_over_samples(network) -> None:
    net = network("mlp")
    loss_fn = nn.CrossEntropyLoss(weight=torch.tensor([0.1, 1.0, 5.0]), reduction="none")
    expected = loss_fn(copy.deepcopy(net.model).eval()(net.inputs), net.classes).mean().item()
    assert center(ModelWrapper(net.model, loss_fn, net.data), 5) == pytest.approx(expected, rel=2e-6)


def test_a_root_of_a_mean_is_refused_with_what_to_return_instead(network) -> None:
    net = network("mlp")
    data = (net.inputs, torch.randn(22, 3))
    with pytest.raises(DataError, match=r"two halves .*LossSum\(sum, count\)"):
        center(ModelWrapper(net.model, lambda output, target: F.mse_loss(output, target).sqrt(), data))


@pytest.mark.parametrize("last", [[2.0], [2.0, 2.0], [2.0, 2.0, 2.0]])
@pytest.mark.parametrize("how", ["batch", "target"])
def test_a_mean_over_other_tensors_than_the_last_is_refused_with_what_to_do(how, last, network) -> None:
    """Batches of other sizes would weigh alike."""
    net = network("mlp")
    batches = [(net.inputs[a:b], {"y": net.classes[a:b], "scale": torch.tensor(last)}) for a, b in ((0, 16), (16, 22))]

    def loss_fn(output: Tensor, target: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(output, target["y"]) * target["scale"].amax()

    chosen: dict[str, Any] = {"loss_fn": loss_fn, "train_data": batches}
    if how == "batch":
        chosen = {
            "batch_loss": lambda model, batch: loss_fn(model(batch["x"]), batch),
            "train_data": [{"x": inputs, **target} for inputs, target in batches],
        }
    with pytest.raises(DataError, match=rf"last tensor of a batch has {len(last)} entries.*over the 16 .*LossSum"):
        center(ModelWrapper(net.model, **chosen))

    counted = {**chosen}
    if how == "batch":
        loss = chosen["batch_loss"]
        counted["batch_loss"] = lambda model, batch: LossSum(loss(model, batch) * len(batch["y"]), len(batch["y"]))
    else:
        counted["loss_fn"] = lambda output, target: LossSum(loss_fn(output, target) * len(output), len(output))
    assert center(ModelWrapper(net.model, **counted)) == pytest.approx(
        2 * whole(net.model, nn.CrossEntropyLoss(), net.data), rel=2e-6
    )


def test_a_mean_that_is_the_same_for_all_samples_passes(network) -> None:
    """Of a new head of zeros, say; what is constant beside the samples is not taken for them."""
    net = network("mlp")
    nn.init.zeros_(net.model[2].weight)
    nn.init.zeros_(net.model[2].bias)
    wrapper = ModelWrapper(
        net.model,
        train_data=[(net.inputs, torch.ones(3), net.classes)],
        batch_loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[2]) * batch[1].mean(),
    )
    assert center(wrapper) == pytest.approx(np.log(3))


def test_a_total_that_is_not_said_to_be_one_is_refused(network) -> None:
    net = network("mlp")
    with pytest.raises(DataError, match="LossSum"):
        center(
            ModelWrapper(net.model, lambda output, target: F.cross_entropy(output, target, reduction="sum"), net.data)
        )


def test_a_mean_over_what_counts_is_refused_where_only_a_later_batch_shows_it(network) -> None:
    """Sequences by length, as loaders sort them: the first batch has nothing to ignore."""
    net = network("attention")
    targets = net.classes.clone()
    targets[12:15] = -100
    loss_fn = lambda output, target: F.cross_entropy(output, target)  # noqa: E731 - unknown to the library
    with pytest.raises(DataError, match="LossSum"):
        center(ModelWrapper(net.model, loss_fn, (net.inputs, targets)), 8)


def test_coupled_samples_are_accepted_when_it_is_said_so(network) -> None:
    net = network("mlp")
    data = (net.inputs, torch.randn(22, 3))
    loss_fn = lambda output, target: F.mse_loss(output, target).sqrt()  # noqa: E731 - unknown to the library
    found = center(ModelWrapper(net.model, loss_fn, data, batch_coupled=True), 11)
    halves = [whole(net.model, loss_fn, (data[0][part], data[1][part])) for part in (slice(11), slice(11, 22))]
    assert found == pytest.approx(sum(halves) / 2, rel=1e-6)
    one = center(ModelWrapper(net.model, loss_fn, data, batch_coupled=True))
    assert one == pytest.approx(whole(net.model, loss_fn, data), rel=1e-6)


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=False)), SORTED[:, :3]),
        (nn.Linear(5, 1), SORTED[:, 0]),
    ],
    ids=["BatchNorm without running statistics", "a target that is broadcast"],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_model_or_a_shape_that_couples_samples_is_refused_with_any_loss(model, target) -> None:
    with pytest.raises(DataError, match=r"couples the samples .*batch_coupled=True"):
        center(ModelWrapper(model, nn.MSELoss(), (SORTED, target)))


def test_a_loss_that_draws_random_numbers_is_refused(network) -> None:
    net = network("mlp")
    loss_fn = lambda output, target: F.cross_entropy(F.dropout(output), target)  # noqa: E731 - unknown to the library
    with pytest.raises(DataError, match="draws random numbers"):
        center(ModelWrapper(net.model, loss_fn, net.data))


def test_a_loss_that_counts_its_calls_is_refused(network) -> None:
    net = network("mlp")
    calls = []

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        calls.append(0)
        return F.cross_entropy(output, target) * (1 + len(calls))

    with pytest.raises(DataError, match="may not depend on earlier calls"):
        center(ModelWrapper(net.model, loss_fn, net.data))


def test_a_loss_that_switches_to_train_mode_is_refused(network) -> None:
    net = network("convolution")

    def batch_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model.train()(batch[0]), batch[1])

    with pytest.raises(DataError, match="train mode"):
        center(ModelWrapper(net.model, train_data=net.data, batch_loss=batch_loss))


@pytest.mark.parametrize("batch_size", [3, 22])
@pytest.mark.parametrize("per_sample", [False, True])
def test_a_sum_with_its_own_count(per_sample, batch_size, network) -> None:
    net = network("attention")
    targets = net.classes.clone()
    targets[::2, 1:] = -100

    def batch_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> LossSum:
        losses = F.cross_entropy(model(batch[0]), batch[1], reduction="none")
        counts = (batch[1] != -100).sum(dim=1)
        sums = losses.sum(dim=1)
        return LossSum(sums, counts) if per_sample else LossSum(sums.sum(), counts.sum().item())

    wrapper = ModelWrapper(net.model, train_data=(net.inputs, targets), batch_loss=batch_loss)
    expected = whole(net.model, nn.CrossEntropyLoss(), (net.inputs, targets))
    assert center(wrapper, batch_size) == pytest.approx(expected, rel=2e-6)
    found = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(batch_size=batch_size), progress=False)
    entries = found.slice_1d(n_samples=2).array(role="count")
    assert entries[0] == (22 if per_sample else -(-22 // batch_size))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda o, t: (F.cross_entropy(o, t), o), "returned tuple"),
        (lambda o, t: F.cross_entropy(o, t).item(), "returned float"),
        (lambda o, t: LossSum(torch.ones(3), torch.ones(2)), "two scalars, or one entry a sample"),
        (lambda o, t: LossSum(1.0, 2), "give a tensor"),
    ],
)
def test_other_returns_are_refused(returned, message, network) -> None:
    net = network("mlp")
    with pytest.raises(DataError, match=message):
        center(ModelWrapper(net.model, returned, net.data))


def test_a_count_that_moves_with_the_parameters_is_refused(network) -> None:
    net = network("mlp")

    def loss_fn(output: Tensor, target: Tensor) -> LossSum:
        losses = F.cross_entropy(output, target, reduction="none")
        return LossSum(losses, 1 + output.detach()[:, 0].abs())

    with pytest.raises(DataError, match="changes with the parameters"):
        center(ModelWrapper(net.model, loss_fn, net.data))


def test_a_number_of_entries_that_moves_with_the_parameters_is_refused(network) -> None:
    net = network("mlp")

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        losses = F.cross_entropy(output, target, reduction="none")
        return losses[losses > losses.mean()]

    with pytest.raises(DataError):
        center(ModelWrapper(net.model, loss_fn, net.data, batch_coupled=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_counts_and_adds_up_in_more(dtype) -> None:
    """70,000 samples: their count is beyond float16, their sum beyond the digits of both."""
    model = nn.Linear(2, 2, bias=False)
    inputs, classes = torch.randn(70_000, 2), torch.randint(0, 2, (70_000,))
    model, inputs = model.to(dtype), inputs.to(dtype)
    with torch.no_grad():
        expected = F.cross_entropy(model(inputs).double(), classes).item()
    for loss_fn in (nn.CrossEntropyLoss(), lambda o, t: F.cross_entropy(o, t, reduction="none")):
        found = center(ModelWrapper(model, loss_fn, (inputs, classes)), 70_000)
        assert found == pytest.approx(expected, rel=1e-3)


def test_a_split_of_which_nothing_counts_has_torchs_value(network) -> None:
    net = network("mlp")
    data = (net.inputs, torch.full((22,), -100))
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), data)
    found = RandomDirectionSlicer(wrapper, progress=False).slice_1d(n_samples=3)
    assert np.isnan(found.loss).all()
    assert np.isnan(center_loss(found))


def test_metrics_are_means_over_samples_at_each_point(network) -> None:
    net = network("mlp")
    metrics = {
        "accuracy": lambda output, target: output.argmax(dim=1) == target,
        "largest": lambda output, target: output.max(dim=1).values,
    }
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data, metrics=metrics)
    found = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(batch_size=6), progress=False).slice_1d(
        n_samples=3
    )
    with torch.no_grad():
        output = copy.deepcopy(net.model).eval()(net.inputs)
    assert found.array("accuracy")[1] == pytest.approx((output.argmax(dim=1) == net.classes).double().mean().item())
    assert found.center is not None
    assert found.center.metrics["largest"]["train"] == pytest.approx(output.max(dim=1).values.mean().item(), rel=1e-6)


def test_a_metric_that_is_not_one_value_a_sample_is_refused(network) -> None:
    net = network("mlp")
    metrics = {"mean": lambda output, target: output.mean()}
    with pytest.raises(DataError, match="expected one value for each of 22 samples"):
        center(ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data, metrics=metrics))


@pytest.mark.parametrize("strategy", ["loop", "partial"])
def test_a_batch_whose_samples_are_coupled_is_never_cut(strategy: Any) -> None:
    """Each sample is held against the mean of its batch, which parts of the batch would have another."""

    class Centered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # Of 120 kB a sample, which elsewhere would be reason enough to cut the batch.
            self.wide, self.layer = nn.Linear(5, 30_000), nn.Linear(30_000, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.layer(self.wide(x))
            return out - out.mean(dim=0, keepdim=True)

    model, inputs, target = Centered(), torch.randn(80, 5), torch.randint(0, 3, (80,))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target), batch_coupled=True)
    settings = EvaluationSettings(strategy=strategy, batch_size=80)
    found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=3)
    assert found.evaluation["strategy"] == strategy
    with torch.no_grad():
        whole = F.cross_entropy(model(inputs), target).item()
    assert found.loss[1] == pytest.approx(whole, rel=1e-5)
    assert found.evaluation["batches"] == {"train": 1}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("strategy", ["loop", "partial", "vmap", "partial-vmap"])
def test_a_point_at_the_center_has_the_centers_own_loss_sample_by_sample(strategy, workers, network) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    vectors = ({name: torch.randn_like(p) for name, p in wrapper.get_parameters().items()},)
    coefficients = np.array([[0.0], [0.3], [0.0], [-0.7], [-0.0], [0.0]])
    block = PointBlock(directions=lambda: vectors, coefficients=coefficients)
    settings = EvaluationSettings(strategy=strategy, workers=workers)
    found = evaluate(wrapper, wrapper.split("train", 8), [block], wrapper.state(), settings=settings)
    assert found.strategy == strategy
    sums, there = found.sums["loss"], coefficients[:, 0] == 0
    for own, at_center in [("total", "center_total"), ("squares", "center_squares"), ("with_center", "center_squares")]:
        values = getattr(sums, own)
        np.testing.assert_allclose(values[there], getattr(sums, at_center), rtol=1e-14)
        assert (abs(values[~there] / getattr(sums, at_center) - 1) > 1e-4).all()


def test_the_loop_makes_no_pass_of_its_own_for_a_point_at_the_center(network) -> None:
    net, passes = network("mlp"), []
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    vectors = (wrapper.get_parameters(),)
    counts = []
    # What the model reads is looked at before its first slice.
    for values in ([1.0], [-1.0, 1.0], [-1.0, 0.0, 0.0, 1.0]):
        block = PointBlock(directions=lambda: vectors, coefficients=np.array(values)[:, None])
        handle = net.model.register_forward_hook(lambda *_: passes.append(1))
        data, settings = wrapper.split("train", 8), EvaluationSettings(strategy="loop")
        evaluate(wrapper, data, [block], wrapper.state(), settings=settings)
        handle.remove()
        counts.append(len(passes))
        passes.clear()
    batches, (_, without, with_center) = 3, counts
    assert without == with_center == 2 * batches + (batches - 1) + 3
