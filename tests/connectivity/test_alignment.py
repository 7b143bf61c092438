"""Permuted copies of networks are found again, and what can't be permuted is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import LinearInterpolationSlicer, ModelWrapper
from slicer_core.connectivity.matching import match_weights, permuted
from slicer_core.connectivity.units import UnitGroups, unit_groups
from slicer_core.errors import DataError, UsageError


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Sequential(nn.Linear(16, 12), nn.Tanh()), nn.Linear(12, 3))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 10),
        nn.ReLU(),
        nn.Linear(10, 3),
    )


class Residual(nn.Module):
    """Two blocks whose outputs are added to what goes in, and a mean over space."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.first = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)])
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = F.relu(self.stem(inputs))
        inner, norm, outer = self.first
        hidden = hidden + outer(F.relu(norm(inner(hidden))))
        return self.head(F.relu(self.norm(hidden)).mean((2, 3)))


class Signal(nn.Module):
    """Gives its inputs the axis of channels that they lack."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(1, 6, 3), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(inputs[:, None])).mean(-1))


class Part(Signal):
    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(inputs[:, None]))[:, :, 0])


NETWORKS = {
    "mlp": (mlp, lambda: (torch.randn(24, 5), torch.randint(0, 3, (24,)))),
    "convolutional": (convolutional, lambda: (torch.randn(24, 1, 8, 8), torch.randint(0, 3, (24,)))),
    "signal": (Signal, lambda: (torch.randn(24, 8), torch.randint(0, 3, (24,)))),
    "residual": (Residual, lambda: (torch.randn(24, 1, 8, 8), torch.randint(0, 3, (24,)))),
}


def prepared(name: str) -> tuple[ModelWrapper, UnitGroups, dict[str, Tensor], dict[int, np.ndarray]]:
    """A network with used BatchNorm statistics, and a copy of it with its units in a random order."""
    make, data = NETWORKS[name]
    model, (inputs, target) = make(), data()
    model(3 * inputs + 1)
    wrapper = ModelWrapper(model.eval(), nn.CrossEntropyLoss(), (inputs, target))
    groups = unit_groups(model)
    generator = np.random.default_rng(1)
    orders = {group: generator.permutation(size) for group, size in groups.sizes.items()}
    return wrapper, groups, permuted(wrapper.state(), groups, orders), orders


@pytest.mark.parametrize(
    ("name", "sizes"), [("mlp", [16, 12]), ("convolutional", [6, 8, 10]), ("residual", [8, 8]), ("signal", [6])]
)
def test_a_permuted_copy_is_the_same_function_and_is_found_again(name, sizes) -> None:
    wrapper, groups, copied, orders = prepared(name)
    assert list(groups.sizes.values()) == sizes
    inputs = next(iter(wrapper.split("train").batches())).data[0]
    other = copy.deepcopy(wrapper.model)
    other.load_state_dict(copied)
    with torch.no_grad():
        torch.testing.assert_close(other(inputs), wrapper.model(inputs), rtol=1e-4, atol=1e-5)
    assert any(not torch.equal(copied[key], tensor) for key, tensor in wrapper.state().items())
    found, product = match_weights(wrapper.get_parameters(), copied, groups)
    for group, order in orders.items():
        assert np.array_equal(order[found[group]], np.arange(order.size))
    matched = {key for key in wrapper.get_parameters() if any(group for group in groups.axes.get(key, {}).values())}
    assert product == pytest.approx(sum(wrapper.state()[key].double().square().sum().item() for key in matched))


@pytest.mark.parametrize("name", list(NETWORKS))
def test_after_alignment_a_permuted_copy_has_no_barrier(name) -> None:
    wrapper, _, copied, _ = prepared(name)
    slicer = LinearInterpolationSlicer(wrapper, progress=False)
    found = slicer.slice(end_point=copied, n_samples=5, range=(0.0, 1.0), align="weights")
    plain = slicer.slice(end_point=copied, n_samples=5, range=(0.0, 1.0))
    assert found.measures["barrier"].value <= 1e-6
    before = found.measures["unaligned_barrier"]
    assert before.value == pytest.approx(plain.measures["barrier"].value, rel=1e-5, abs=1e-7)
    assert before.details["losses"] == pytest.approx(plain.loss.tolist(), rel=1e-5)
    # Both ends are one function, with the buffers of their own.
    start, end = (marker.loss["train"] for marker in plain.markers)
    assert start == pytest.approx(end, rel=1e-5)
    recipe = found.directions[0].recipe
    assert recipe["align"] == "weights"
    assert 0 <= recipe["function_difference"] < 1e-4
    assert recipe["moved_units"] > 0


def test_alignment_lowers_the_distance_between_two_networks() -> None:
    first, second = ModelWrapper(mlp(), nn.CrossEntropyLoss(), NETWORKS["mlp"][1]()), mlp()
    slicer = LinearInterpolationSlicer(first, progress=False)
    end = dict(second.state_dict())
    aligned, plain = (slicer.slice(end_point=end, n_samples=5, align=align) for align in ("weights", "none"))
    assert 0 < aligned.directions[0].norm < plain.directions[0].norm
    assert aligned.loss[-2] != plain.loss[-2]


class Weighted(nn.Module):
    """Treats single units apart, in a way that the graph of modules does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Linear(5, 6), Halves(), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.act(self.first(inputs)))


class Halves(nn.ReLU):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * torch.arange(inputs.shape[-1])


Halves.__module__ = "torch.nn.modules.activation"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(5, 4), nn.GRU(4, 3)), "layer 1 is a GRU"),
        (nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3)), "layer 1 is a LayerNorm"),
        (nn.Sequential(nn.Conv2d(2, 4, 1, groups=2), nn.Flatten(), nn.Linear(4, 3)), "layer 0 is a grouped conv"),
        (Part(), "its forward takes a part of a layer's output"),
    ],
    ids=["recurrent", "layernorm", "grouped", "part"],
)
def test_what_is_not_known_is_refused_with_the_reason(model, message) -> None:
    with pytest.raises(UsageError, match=f"which units of the model may be permuted: {message}"):
        unit_groups(model)


def test_a_forward_that_can_not_be_traced_is_refused() -> None:
    class Branching(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs if inputs.sum() > 0 else -inputs

    with pytest.raises(UsageError, match="its graph can't be traced"):
        unit_groups(Branching())


def test_a_network_that_is_not_the_same_function_is_not_used() -> None:
    model = Weighted()
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), NETWORKS["mlp"][1]())
    with pytest.raises(DataError, match="not the same function"):
        LinearInterpolationSlicer(wrapper, progress=False).slice(
            end_point=dict(Weighted().state_dict()), align="weights"
        )


def test_bad_options_are_told() -> None:
    wrapper, _, copied, _ = prepared("mlp")
    slicer = LinearInterpolationSlicer(wrapper, progress=False)
    with pytest.raises(UsageError, match="--align 'activations' is not one of none, weights"):
        slicer.slice(end_point=copied, align="activations")
    with pytest.raises(UsageError, match="leave out --params"):
        slicer.slice(end_point=copied, align="weights", params=("0.*",))
    with pytest.raises(UsageError, match="both ends of the line are the same point"):
        slicer.slice(end_point=wrapper.get_parameters(), align="weights")
