"""The operators are the second derivative of the user's own loss on the whole split, whatever its form and batches."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from slicer_core import EvaluationSettings, LossSum, ModelWrapper
from slicer_core.errors import DataError, UsageError
from slicer_core.evaluate.gradient import DifferentiableLoss


def test_hessian_of_weighted_targets_does_not_depend_on_the_batches(classifier, curvature_tools) -> None:
    model, loss_fn = classifier.model, classifier.loss_fn
    model.eval()
    ((inputs, target),) = [batch.data for batch in classifier.split("train").batches()]
    expected = curvature_tools.dense_hessian(
        lambda named: loss_fn(functional_call(model, named, (inputs,)), target), model, classifier.varying_names()
    )
    model.train()
    for batch_size in (None, 7):
        matrix = curvature_tools.problem_of(classifier, batch_size).matrix()
        found = matrix.product(np.eye(matrix.size))
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-12)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_value_and_gradient_are_those_of_the_loss(classifier) -> None:
    model = classifier.model.eval()
    ((inputs, target),) = [batch.data for batch in classifier.split("train").batches()]
    whole = classifier.loss_fn(model(inputs), target)
    expected = torch.autograd.grad(whole, list(model.parameters()))
    loss = DifferentiableLoss(
        classifier,
        classifier.split("train", 4),
        classifier.state(),
        classifier.varying_names(),
        settings=EvaluationSettings(),
    )
    value, gradient = loss.gradient()
    assert value == pytest.approx(whole.item(), rel=1e-12)
    assert loss.value() == pytest.approx(whole.item(), rel=1e-12)
    for name, tensor in zip(gradient, expected, strict=True):
        torch.testing.assert_close(gradient[name], tensor, rtol=1e-10, atol=1e-14)


def test_hessian_of_a_batch_loss_with_its_own_denominator(curvature_tools) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()).double()
    batches = [torch.randn(size, 3).double() for size in (5, 2, 4)]

    def batch_loss(network: nn.Module, batch: torch.Tensor) -> LossSum:
        return LossSum(network(batch).pow(3).sum(), batch[:, 0].abs().sum())

    wrapper = ModelWrapper(model, train_data=batches, batch_loss=batch_loss)
    count = sum(batch[:, 0].abs().sum() for batch in batches)

    def whole(named):
        return sum(functional_call(model, named, (batch,)).pow(3).sum() for batch in batches) / count

    expected = curvature_tools.dense_hessian(whole, model, wrapper.varying_names())
    matrix = curvature_tools.problem_of(wrapper).matrix()
    np.testing.assert_allclose(matrix.product(np.eye(matrix.size)), expected.numpy(), atol=1e-12)


def test_gauss_newton_is_the_jacobian_around_the_loss_curvature(classifier, curvature_tools) -> None:
    model = classifier.model.eval()
    ((inputs, target),) = [batch.data for batch in classifier.split("train").batches()]
    names = classifier.varying_names()
    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}
    jacobians = torch.func.jacrev(lambda named: functional_call(model, named, (inputs,)))(parameters)
    jacobian = torch.cat([jacobians[name].reshape(31 * 3, -1) for name in names], dim=1)
    of_output = torch.autograd.functional.hessian(
        lambda output: classifier.loss_fn(output.reshape(31, 3), target), model(inputs).detach().reshape(-1)
    )
    expected = (jacobian.T @ of_output @ jacobian).detach().numpy()
    vectors = np.random.default_rng(0).standard_normal((len(expected), 3))
    for batch_size in (None, 16):
        matrix = curvature_tools.problem_of(classifier, batch_size, kind="ggn").matrix()
        np.testing.assert_allclose(matrix.product(vectors), expected @ vectors, atol=1e-12)


def test_weight_decay_adds_its_strength_to_the_diagonal(classifier, curvature_tools) -> None:
    for kind in ("hessian", "ggn"):
        plain = curvature_tools.problem_of(classifier, kind=kind).matrix()
        decayed = curvature_tools.problem_of(
            classifier, kind=kind, settings=EvaluationSettings(weight_decay=0.3)
        ).matrix()
        unit = np.eye(plain.size)[:, ::20]
        np.testing.assert_allclose(decayed.product(unit), plain.product(unit) + 0.3 * unit, atol=1e-12)


def test_moving_what_is_not_differentiated_leaves_the_model_alone(classifier) -> None:
    state = classifier.state()
    before = {name: tensor.clone() for name, tensor in state.items()}
    loss = DifferentiableLoss(classifier, classifier.split("train"), state, ["0.weight"], settings=EvaluationSettings())
    value = loss.value()
    loss.move_to({"2.running_var": state["2.running_var"] * 3, "0.weight": state["0.weight"] + 1})
    assert loss.value() != value
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state().items())


def test_only_the_named_parameters_vary(classifier, curvature_tools) -> None:
    whole = curvature_tools.problem_of(classifier).matrix()
    part = curvature_tools.problem_of(classifier, names=["0.weight"]).matrix()
    full = whole.product(np.eye(whole.size))
    assert part.size == 24
    np.testing.assert_allclose(part.product(np.eye(24)), full[:24, :24], atol=1e-12)


class Attention(nn.Module):
    """Fused on a CPU, where the gradient of the fused kernel has no derivative."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(inputs, inputs, inputs)


class LastState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(inputs)[0][:, -1])


@pytest.mark.parametrize(
    "make_model",
    [
        lambda: nn.Sequential(nn.Linear(3, 4), Attention(), nn.Flatten(), nn.Linear(20, 2)),
        LastState,
    ],
    ids=["attention", "lstm"],
)
def test_fused_layers_have_a_hessian(make_model, curvature_tools) -> None:
    model = make_model()
    inputs, target = torch.randn(6, 5, 3), torch.randint(0, 2, (6,))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target))
    matrix = curvature_tools.problem_of(wrapper).matrix()
    direction = np.random.default_rng(0).standard_normal(matrix.size)
    direction /= np.linalg.norm(direction)
    loss = DifferentiableLoss(
        wrapper,
        wrapper.split("train"),
        wrapper.state(),
        wrapper.varying_names(),
        settings=EvaluationSettings(dtype=torch.float64),
    )
    center, step = dict(wrapper.state()), 1e-4
    slopes = []
    for sign in (-1, 1):
        moved = matrix.named(direction * sign * step)
        loss.move_to({name: center[name].double() + moved[name] for name in moved})
        slopes.append(np.concatenate([part.numpy().ravel() for part in loss.gradient()[1].values()]))
    expected = (slopes[1] - slopes[0]) / (2 * step)
    np.testing.assert_allclose(matrix.product(direction), expected, atol=2e-6)


def test_a_loss_that_is_linear_in_its_parameters_has_no_curvature(curvature_tools) -> None:
    model = nn.Linear(3, 1)
    wrapper = ModelWrapper(
        model, train_data=[torch.randn(4, 3)], batch_loss=lambda network, batch: network(batch)[:, 0]
    )
    matrix = curvature_tools.problem_of(wrapper).matrix()
    assert not matrix.product(np.ones(matrix.size)).any()


class OnceDifferentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        return inputs.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient


class Once(nn.Module):
    def forward(self, inputs):
        return OnceDifferentiable.apply(inputs)


def test_an_operation_without_a_second_derivative_is_told(curvature_tools) -> None:
    model = nn.Sequential(nn.Linear(3, 2), Once())
    wrapper = ModelWrapper(model, nn.MSELoss(), (torch.randn(4, 3), torch.randn(4, 2)))
    matrix = curvature_tools.problem_of(wrapper).matrix()
    with pytest.raises(DataError, match=r"can't differentiate twice \(.*once_differentiable"):
        matrix.product(np.ones(matrix.size))


def test_gauss_newton_needs_the_output_apart_from_the_loss(curvature_tools) -> None:
    wrapper = curvature_tools.quadratic(torch.ones(3))
    with pytest.raises(UsageError, match=r"batch_loss does not give.*--curvature hessian"):
        curvature_tools.problem_of(wrapper, kind="ggn").matrix()


def test_a_count_of_the_parameters_is_refused(curvature_tools) -> None:
    model = nn.Linear(3, 1)
    wrapper = ModelWrapper(
        model,
        train_data=[torch.randn(4, 3)],
        batch_loss=lambda network, batch: LossSum(network(batch).sum(), network(batch).abs().sum()),
    )
    matrix = curvature_tools.problem_of(wrapper).matrix()
    with pytest.raises(DataError, match="depends on the parameters"):
        matrix.product(np.ones(matrix.size))


def test_a_missing_extra_is_named(classifier, curvature_tools, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "curvlinops", None)
    monkeypatch.delitem(sys.modules, "slicer_core.curvature.operators", raising=False)
    with pytest.raises(UsageError, match=r"tensorboard-loss-slicer\[curvature\]"):
        curvature_tools.problem_of(classifier).matrix()


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
@pytest.mark.parametrize(
    "normed",
    [
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3), dim=1),
        lambda: nn.utils.weight_norm(nn.Linear(4, 3)),
    ],
)
def test_hessian_with_weight_normalization_is_the_change_of_the_gradient(normed, curvature_tools) -> None:
    """By differences, since torch's own second derivatives of it are wrong."""
    model = nn.Sequential(normed(), nn.Tanh(), nn.Linear(3, 2)).double()
    data = (torch.randn(9, 4).double(), torch.randint(0, 2, (9,)))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), data)
    parameters = list(model.parameters())

    def gradient() -> torch.Tensor:
        loss = F.cross_entropy(model(data[0]), data[1])
        return torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, parameters)])

    rows = []
    for parameter in parameters:
        for entry in parameter.detach().view(-1).split(1):
            ends = []
            for step in (1e-5, -2e-5):
                entry += step
                ends.append(gradient())
            entry += 1e-5
            rows.append((ends[0] - ends[1]) / 2e-5)
    matrix = curvature_tools.problem_of(wrapper).matrix()
    np.testing.assert_allclose(matrix.product(np.eye(matrix.size)), torch.stack(rows).numpy(), atol=1e-8)
