"""Every slice against a float64 loop that shares no code with the library."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from slicer_core import (
    AxisParallelSlicer,
    EvaluationSettings,
    LinearInterpolationSlicer,
    ModelWrapper,
    RandomDirectionSlicer,
)

NETWORKS = ["mlp", "convolution", "attention", "encoder", "weight_norm", "shared", "lstm"]
# Seven does not divide the 22 samples.
SETTINGS = {
    name: EvaluationSettings(batch_size=7, strategy=name)
    for name in ("loop", "vmap", "partial", "partial-vmap", "partial-native")
}


def wrapped(network: Any, loss_fn: Any = None, data: Any = None) -> ModelWrapper:
    return ModelWrapper(network.model, loss_fn or nn.CrossEntropyLoss(), data or network.data)


def parameters(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def pairs(first: np.ndarray, second: np.ndarray) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a in first for b in second]


@pytest.mark.parametrize("strategy", SETTINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_plane_of_two_random_directions_is_the_loops(
    name, strategy, network, reference, plain_direction, close_to_float64
) -> None:
    net = network(name)
    slicer = RandomDirectionSlicer(wrapped(net), settings=SETTINGS[strategy], progress=False)
    found = slicer.slice_2d(grid_size=(4, 3), range=((0.0, 0.9), (-0.7, 0.4)), seed=5)

    directions = [plain_direction(parameters(net.model), seed=5, axis=axis) for axis in (0, 1)]
    first, second = np.linspace(0, 0.9, 4), np.linspace(-0.7, 0.4, 3)
    expected = reference(net.model, nn.CrossEntropyLoss(), net.data).along(directions, pairs(first, second))
    close_to_float64(found.loss, expected.reshape(4, 3))
    np.testing.assert_array_equal(found.axes[0].values, first)
    np.testing.assert_array_equal(found.axes[1].values, second)


@pytest.mark.parametrize("strategy", SETTINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_random_curve_is_the_loops(name, strategy, network, reference, plain_direction, close_to_float64) -> None:
    net = network(name)
    slicer = RandomDirectionSlicer(wrapped(net), settings=SETTINGS[strategy], progress=False)
    found = slicer.slice_1d(n_samples=5, range=(0.0, 1.0), seed=1)

    direction = plain_direction(parameters(net.model), seed=1, axis=0)
    coefficients = [(alpha,) for alpha in np.linspace(0, 1, 5)]
    expected = reference(net.model, nn.CrossEntropyLoss(), net.data).along([direction], coefficients)
    close_to_float64(found.loss, expected)


@pytest.mark.parametrize("strategy", SETTINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_line_between_two_points_is_the_loops(name, strategy, network, reference, close_to_float64) -> None:
    net = network(name)
    wrapper = wrapped(net)
    start, end = wrapper.get_random_parameters(0.1, seed=1), wrapper.get_random_parameters(0.4, seed=2)
    found = LinearInterpolationSlicer(wrapper, settings=SETTINGS[strategy], progress=False).slice(
        start, end, n_samples=6, range=(-0.3, 1.2)
    )

    alphas = found.axes[0].values
    line = [
        {name: (1 - alpha) * start[name].double() + alpha * end[name].double() for name in start} for alpha in alphas
    ]
    close_to_float64(found.loss, reference(net.model, nn.CrossEntropyLoss(), net.data).losses(line))


@pytest.mark.parametrize("strategy", SETTINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_single_parameters_move_as_in_the_loop(name, strategy, network, reference, close_to_float64) -> None:
    net = network(name)
    total = sum(parameter.numel() for parameter in net.model.parameters())
    chosen = [0, 3, total // 2, total - 1]
    found = AxisParallelSlicer(wrapped(net), settings=SETTINGS[strategy], progress=False).slice(
        bounds=(0.0, 0.8), n_samples=3, params_to_slice=chosen
    )

    flat = torch.cat([parameter.reshape(-1) for parameter in net.model.parameters()]).detach()
    points = []
    for index in chosen:
        for offset in (0.0, 0.4, 0.8):
            moved = flat.double().clone()
            moved[index] += offset
            pieces = moved.split([parameter.numel() for parameter in net.model.parameters()])
            points.append(
                {
                    key: piece.reshape(parameter.shape)
                    for (key, parameter), piece in zip(net.model.named_parameters(), pieces, strict=True)
                }
            )
    expected = reference(net.model, nn.CrossEntropyLoss(), net.data).losses(points)
    close_to_float64(found.loss, expected.reshape(4, 3))


def probabilities(net: Any) -> torch.Tensor:
    return torch.softmax(torch.randn(len(net.classes), 3, generator=torch.Generator().manual_seed(0)), dim=1)


WEIGHTS = torch.tensor([0.2, 1.0, 3.0])
LOSSES: dict[str, tuple[Any, Callable[[Any], torch.Tensor]]] = {
    "weights, smoothing and an ignored class": (
        nn.CrossEntropyLoss(weight=WEIGHTS, ignore_index=1, label_smoothing=0.2),
        lambda net: net.classes,
    ),
    "class probabilities with weights": (nn.CrossEntropyLoss(weight=WEIGHTS), probabilities),
    "a sum": (nn.CrossEntropyLoss(reduction="sum", ignore_index=2), lambda net: net.classes),
    "a function": (F.cross_entropy, lambda net: net.classes),
    "a partial": (partial(F.cross_entropy, weight=WEIGHTS, ignore_index=0), lambda net: net.classes),
    "a partial of a sum": (partial(F.mse_loss, reduction="sum"), probabilities),
    "squares": (nn.MSELoss(), probabilities),
    "absolute values": (F.l1_loss, probabilities),
    "Huber": (nn.HuberLoss(delta=0.3), probabilities),
    "logits": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 0.5])), probabilities),
    "divergence by batch": (nn.KLDivLoss(reduction="batchmean"), probabilities),
    "divergence by element": (partial(F.kl_div, reduction="mean"), probabilities),
    "margins": (nn.MultiMarginLoss(), lambda net: net.classes),
    "counts": (nn.PoissonNLLLoss(), probabilities),
    "an own mean": (lambda output, target: ((output - target) ** 4).mean(), probabilities),
}


@pytest.mark.parametrize("strategy", SETTINGS)
@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_the_users_own_on_the_whole_split(
    name, strategy, network, reference, plain_direction, close_to_float64
) -> None:
    loss_fn, target = LOSSES[name]
    net = network("mlp")
    data = (net.inputs, target(net))
    slicer = RandomDirectionSlicer(wrapped(net, loss_fn, data), settings=SETTINGS[strategy], progress=False)
    found = slicer.slice_1d(n_samples=4, range=(0.0, 1.0))

    direction = plain_direction(parameters(net.model), seed=0, axis=0)
    expected = reference(net.model, loss_fn, data).along([direction], [(a,) for a in np.linspace(0, 1, 4)])
    close_to_float64(found.loss, expected)
    assert found.evaluation["strategy"] == strategy


@pytest.mark.parametrize("name", ["weights, smoothing and an ignored class", "a partial", "logits"])
@pytest.mark.parametrize("strategy", SETTINGS)
def test_float64_agrees_to_its_own_rounding(name, strategy, network, reference, plain_raw_direction) -> None:
    loss_fn, target = LOSSES[name]
    net = network("mlp")
    data = (net.inputs, target(net))
    settings = EvaluationSettings(batch_size=5, dtype=torch.float64, strategy=strategy)
    found = RandomDirectionSlicer(wrapped(net, loss_fn, data), settings=settings, progress=False).slice_1d(
        n_samples=4, range=(0.0, 0.9), normalize="none", ignore="none"
    )

    direction = plain_raw_direction(parameters(net.model), seed=0, axis=0)
    expected = reference(net.model, loss_fn, data).along([direction], [(a,) for a in np.linspace(0, 0.9, 4)])
    np.testing.assert_allclose(found.loss, expected, rtol=1e-12)


def test_positions_of_sequences_count_as_torch_counts_them(
    network, reference, plain_direction, close_to_float64
) -> None:
    """Targets of two dimensions, of which some are ignored, unevenly over the batches."""
    net = network("attention")
    targets = net.classes.clone()
    targets[:9, 1:] = -100
    targets[4] = -100
    loss_fn = nn.CrossEntropyLoss()
    slicer = RandomDirectionSlicer(
        wrapped(net, loss_fn, (net.inputs, targets)), settings=SETTINGS["loop"], progress=False
    )
    found = slicer.slice_1d(n_samples=3, range=(0.0, 1.0))

    direction = plain_direction(parameters(net.model), seed=0, axis=0)
    expected = reference(net.model, loss_fn, (net.inputs, targets)).along([direction], [(0.0,), (0.5,), (1.0,)])
    close_to_float64(found.loss, expected)


def test_a_model_that_vmap_cannot_run_takes_the_loop_and_says_why(network) -> None:
    net = network("lstm")
    found = RandomDirectionSlicer(wrapped(net), settings=SETTINGS["vmap"], progress=False).slice_1d(n_samples=3)
    assert found.evaluation["strategy"] == "loop"
    assert found.evaluation["reason"].startswith("vmap: ")


def test_a_curve_that_vmap_cannot_run_does_not_stop_the_others(network, reference, close_to_float64) -> None:
    """Of an LSTM with a head, the head's parameters have a batching rule and the LSTM's don't."""
    net = network("lstm")
    total = sum(parameter.numel() for parameter in net.model.parameters())
    found = AxisParallelSlicer(wrapped(net), settings=SETTINGS["vmap"], progress=False).slice(
        bounds=(0.0, 1.0), n_samples=2, params_to_slice=[total - 1, 0]
    )
    moved = {name: parameter.detach().double().clone() for name, parameter in net.model.named_parameters()}
    moved["lstm.weight_ih_l0"][0, 0] += 1.0
    (expected,) = reference(net.model, nn.CrossEntropyLoss(), net.data).losses([moved])
    close_to_float64(found.loss[1, 1], expected)
    assert found.evaluation["strategy"] == "vmap+loop"


def test_a_loss_that_holds_the_model_sees_the_point(network, reference, plain_direction, close_to_float64) -> None:
    class Regularized(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(output, target) + 0.1 * sum((p**2).sum() for p in self.model.parameters())

    net = network("mlp")
    found = RandomDirectionSlicer(wrapped(net, Regularized(net.model)), progress=False).slice_1d(n_samples=3)

    direction = plain_direction(parameters(net.model), seed=0, axis=0)
    points = reference(net.model, nn.CrossEntropyLoss(), net.data).along([direction], [(-1.0,), (0.0,), (1.0,)])
    squares = [
        sum(
            float(((parameter.detach().double() + alpha * direction.get(name, 0.0)) ** 2).sum())
            for name, parameter in net.model.named_parameters()
        )
        for alpha in (-1.0, 0.0, 1.0)
    ]
    close_to_float64(found.loss, points + 0.1 * np.array(squares))


@pytest.mark.parametrize("strategy", SETTINGS)
def test_a_penalty_on_what_is_trained_sees_which_parameters_are(strategy, network, plain_direction) -> None:
    net = network("mlp")
    net.model[0].requires_grad_(False)

    def batch_loss(model: nn.Module, batch: Any) -> torch.Tensor:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        assert len(trained) == 2
        assert isinstance(model.get_parameter("2.weight"), nn.Parameter)
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none") * 0 + sum((p**2).sum() for p in trained)

    wrapper = ModelWrapper(net.model, train_data=net.data, batch_loss=batch_loss)
    found = RandomDirectionSlicer(wrapper, settings=SETTINGS[strategy], progress=False).slice_1d(n_samples=3)
    direction = plain_direction({"2.weight": net.model[2].weight.detach()}, seed=0, axis=0)["2.weight"]
    weight, bias = net.model[2].weight.detach().double(), net.model[2].bias.detach().double()
    expected = [float(((weight + a * direction) ** 2).sum() + (bias**2).sum()) for a in (-1, 0, 1)]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-6)
