"""The loss of each class by itself, against torch's own on the samples of that class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import UsageError
from slicer_core.subject import find_classes


def wrapper_of(network, loss: nn.Module) -> ModelWrapper:
    net = network("mlp")
    return ModelWrapper(net.model, loss, net.data, metrics={"right": lambda output, target: output.argmax(1) == target})


@pytest.mark.parametrize("strategy", ["loop", "partial", "partial-vmap", "vmap", "streaming"])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_every_strategy_gives_each_class_its_own_loss(network, reference, close_to_float64, strategy, weights) -> None:
    loss = nn.CrossEntropyLoss(weight=None if weights is None else torch.tensor(weights))
    wrapper = wrapper_of(network, loss)
    wrapper.classes = find_classes(wrapper, ("train",))
    assert wrapper.classes == (0, 1, 2)
    settings = EvaluationSettings(batch_size=5, strategy=strategy)
    found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=5)
    names = list(dict.fromkeys(array.name for array in found.arrays))
    assert names == ["loss", "right", "class_0", "class_1", "class_2"]
    net = network("mlp")
    from slicer_core.directions import filter_layouts, normalize_direction, random_direction

    parameters = wrapper.get_parameters()
    direction = normalize_direction(
        random_direction(parameters, seed=0, axis=0),
        parameters,
        normalization="filter",
        ignore="biasbn",
        layouts=filter_layouts(net.model),
    )
    for label in wrapper.classes:
        own = net.classes == label
        data = (net.inputs[own], net.classes[own])
        expected = reference(net.model, loss, data).along([direction], [[a] for a in found.axes[0].values])
        close_to_float64(found.array(f"class_{label}"), expected)
        assert (found.array(f"class_{label}", role="stderr") > 0).all()
    counts = torch.bincount(net.classes).double() * torch.tensor(weights or [1.0] * 3).double()
    together = sum(found.array(f"class_{label}") * float(counts[label]) for label in wrapper.classes)
    np.testing.assert_allclose(together / float(counts.sum()), found.loss, rtol=1e-5)


@pytest.mark.parametrize("tolerance", [None, 1e-9, 10.0])
def test_errors_of_classes_of_few_samples_are_those_of_their_samples(network, tolerance) -> None:
    """Of one sample there is no error; of two and more, that of a mean over them, whatever the other classes have."""
    net, counts = network("mlp"), (1, 2, 397)
    inputs, target = torch.randn(400, net.inputs.shape[1]), torch.arange(3).repeat_interleave(torch.tensor(counts))
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1))
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(reduction="none"), (inputs[order], target[order]))
    wrapper.classes = find_classes(wrapper, ("train",))
    settings = EvaluationSettings(strategy="loop", tolerance=tolerance)
    found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=3)
    with torch.no_grad():
        losses = nn.functional.cross_entropy(net.model.eval()(inputs), target, reduction="none")
    for label, count in enumerate(counts):
        own = losses[target == label].double().numpy()
        expected = own.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan
        np.testing.assert_allclose(found.array(f"class_{label}", role="stderr")[1], expected, rtol=1e-4)
        np.testing.assert_allclose(found.array(f"class_{label}")[1], own.mean(), rtol=1e-5)
        assert np.isfinite(found.array(f"class_{label}")).all()


def test_a_class_is_not_touched_by_infinite_losses_of_another() -> None:
    inputs = torch.tensor([[1.0], [torch.inf]])
    wrapper = ModelWrapper(nn.Identity(), lambda output, target: output[:, 0], (inputs, torch.tensor([0, 1])))
    assert find_classes(wrapper, ("train",)) == (0, 1)
    wrapper.classes = (0, 1)
    terms = wrapper.sample_terms(next(iter(wrapper.split("train").batches())))
    assert terms["class_0"].sums.tolist() == [1.0, 0.0]
    assert terms["class_1"].sums.tolist() == [0.0, torch.inf]


def test_ignored_targets_are_no_class(network) -> None:
    net = network("mlp")
    target = net.classes.clone()
    target[:4] = -100
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), (net.inputs, target))
    assert find_classes(wrapper, ("train",)) == (0, 1, 2)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (torch.randn(6), "float32 of shape"),
        (torch.zeros(6, 2, dtype=torch.long), r"int64 of shape \[6, 2\]"),
    ],
)
def test_targets_that_are_no_classes_are_refused(target, words) -> None:
    wrapper = ModelWrapper(nn.Linear(2, 2), nn.MSELoss(), (torch.randn(6, 2), target))
    with pytest.raises(UsageError, match=f"--per-class needs one class a sample.*{words}"):
        find_classes(wrapper, ("train",))


def test_too_many_classes_and_losses_of_whole_batches_are_refused() -> None:
    many = ModelWrapper(nn.Linear(2, 200), nn.CrossEntropyLoss(), (torch.randn(150, 2), torch.arange(150)))
    with pytest.raises(UsageError, match="for 100 classes or fewer, and the targets have 150"):
        find_classes(many, ("train",))
    given = ModelWrapper(
        nn.Linear(2, 2),
        None,
        (torch.randn(4, 2), torch.zeros(4)),
        batch_loss=lambda model, batch: model(batch[0]).sum(),
    )
    with pytest.raises(UsageError, match="--per-class needs a loss_fn"):
        find_classes(given, ("train",))
    mean = ModelWrapper(
        nn.Linear(2, 2),
        lambda output, target: nn.functional.cross_entropy(output, target),
        (torch.randn(6, 2), torch.tensor([0, 1] * 3)),
    )
    mean.classes = find_classes(mean, ("train",))
    with pytest.raises(UsageError, match="the loss is one number for a batch"):
        RandomDirectionSlicer(mean, progress=False).slice_1d(n_samples=3)
