"""`layers`: each layer moved alone along a random direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from slicer_core import EvaluationSettings, LayerSlicer, ModelWrapper, Slice
from slicer_core.errors import UsageError
from slicer_core.methods.layers import Layers
from slicer_core.methods.method import CenterPoint, SliceOptions

FLOAT64 = EvaluationSettings(dtype=torch.float64)


def layers(model: nn.Module, data, **options) -> Slice:
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), data)
    return LayerSlicer(wrapper, settings=FLOAT64, progress=False).slice(n_samples=3, **options)


def test_each_layer_moves_alone_along_its_part_of_the_random_direction(network, reference, plain_direction) -> None:
    net = network("mlp")
    found = layers(net.model, net.data, seed=4, range=(-1.0, 0.5))
    assert [curve.name for curve in found.curves] == ["0", "2"]
    assert [curve.shape for curve in found.curves] == [(6, 5), (3, 6)]
    state = {name: tensor.detach() for name, tensor in net.model.named_parameters()}
    whole = plain_direction(state, seed=4, axis=0)
    own = reference(net.model, nn.CrossEntropyLoss(), net.data)
    for row, layer in enumerate(("0", "2")):
        part = {f"{layer}.weight": whole[f"{layer}.weight"]}
        expected = own.along([part], [(alpha,) for alpha in found.axes[0].values])
        np.testing.assert_allclose(found.loss[row], expected, rtol=1e-6)
        direction = found.directions[row]
        assert (direction.name, direction.recipe["kind"], direction.recipe["layer"]) == (layer, "random_layer", layer)
        # A filter-normalized direction is as long as the weights that it moves.
        assert direction.norm == pytest.approx(state[f"{layer}.weight"].norm().item(), rel=1e-6)


class Quadratic(nn.Module):
    """Two layers without inputs; the loss is ½·(a‖u‖² + b‖v‖²)."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False)

    def forward(self, scales: torch.Tensor) -> torch.Tensor:
        total = scales[:, 0] * self.u.weight.square().sum() + scales[:, 1] * self.v.weight.square().sum()
        return total / 2


def test_a_quadratic_in_closed_form() -> None:
    model = Quadratic()
    scales = torch.tensor([[1.0, 10.0], [3.0, 20.0]])
    wrapper = ModelWrapper(model, lambda output, target: output, (scales, torch.zeros(2)))
    found = LayerSlicer(wrapper, settings=FLOAT64, progress=False).slice(n_samples=5, normalize="none", seed=2)
    from slicer_core.directions import random_direction

    weights = {name: tensor.detach().double() for name, tensor in model.named_parameters()}
    directions = {name: tensor.double() for name, tensor in random_direction(weights, seed=2, axis=0).items()}
    curvature = {"u": 2.0, "v": 15.0}
    for row, layer in enumerate(("u", "v")):
        other = "v" if layer == "u" else "u"
        still = curvature[other] * weights[f"{other}.weight"].square().sum() / 2
        for index, alpha in enumerate(found.axes[0].values):
            moved = weights[f"{layer}.weight"] + alpha * directions[f"{layer}.weight"]
            expected = (curvature[layer] * moved.square().sum() / 2 + still).item()
            assert found.loss[row, index] == pytest.approx(expected, rel=1e-6)


def test_layers_are_modules_and_those_that_do_not_move_are_told(network) -> None:
    net = network("convolution")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    state = wrapper.state()
    center = CenterPoint(wrapper=wrapper, state=state, scale_state=state, other=lambda name: state)
    plan = Layers().plan(center, SliceOptions())
    assert [curve.name for curve in plan.curves] == ["stem", "inner", "head"]
    assert plan.notes == ("no curve for norm: nothing moves there with --normalize filter --ignore biasbn",)
    every = Layers().plan(center, SliceOptions(ignore="none"))
    assert [curve.name for curve in every.curves] == ["stem", "norm", "inner", "head"]
    assert every.notes == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("weight_norm", ["0", "2"]),
        ("attention", ["embed", "attention", "attention.out_proj"]),
        ("lstm", ["lstm", "head"]),
    ],
)
def test_raw_fused_and_recurrent_weights_belong_to_their_module(name, expected, network) -> None:
    net = network(name)
    assert [curve.name for curve in layers(net.model, net.data).curves] == expected


def test_nothing_that_moves_and_weights_that_are_not_finite_are_refused(network) -> None:
    net = network("mlp")
    with pytest.raises(UsageError, match=r"direction of every layer is zero .*--ignore none"):
        layers(net.model, net.data, params=("*.bias",))
    with torch.no_grad():
        net.model[2].weight[0, 0] = float("nan")
    with pytest.raises(UsageError, match="layer 2 has weights that are not finite"):
        layers(net.model, net.data)
