from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from slicer_core import EvaluationSettings, LinearInterpolationSlicer, ModelWrapper, RandomDirectionSlicer
from slicer_core.directions import random_direction

FLOAT64 = EvaluationSettings(dtype=torch.float64, batch_size=7)


def norm_at(model: nn.Module, net, moved) -> float:
    """torch's own gradient of the whole split in one batch."""
    own = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for key, tensor in moved.items():
            own.get_parameter(key).copy_(tensor)
    nn.functional.cross_entropy(own(net.inputs.double()), net.classes).backward()
    squares = [parameter.grad.square().sum() for parameter in own.parameters() if parameter.grad is not None]
    return float(torch.stack(squares).sum().sqrt())


def test_of_a_network_it_is_torchs_own_at_every_point(network) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    slicer = RandomDirectionSlicer(wrapper, settings=FLOAT64, measures=("gradient_norm",), progress=False)
    found = slicer.slice_2d(grid_size=(3, 2), normalize="none", ignore="none")
    norms = found.array("gradient_norm")
    assert norms.shape == (3, 2)
    center = {key: tensor.double() for key, tensor in wrapper.get_parameters().items()}
    directions = [random_direction(center, seed=0, axis=axis) for axis in (0, 1)]
    for i, a in enumerate(found.axes[0].values):
        for j, b in enumerate(found.axes[1].values):
            moved = {key: part + a * directions[0][key] + b * directions[1][key] for key, part in center.items()}
            assert norms[i, j] == pytest.approx(norm_at(net.model, net, moved), rel=1e-6)
    assert found.measures["gradient_norm"].value == pytest.approx(norm_at(net.model, net, {}), rel=1e-6)
    assert found.arrays[0].name == "loss"


def test_of_a_quadratic_with_weight_decay_it_is_the_closed_form() -> None:
    """L = ½‖θ‖² + ½λ‖θ‖² at θ₀ + αd."""
    model = nn.Module()
    model.theta = nn.Parameter(torch.tensor([3.0, 4.0]))
    model.forward = lambda inputs: 0.5 * model.theta.square().sum() * inputs[:, 0]
    wrapper = ModelWrapper(model, lambda output, target: output, (torch.ones(4, 1), torch.zeros(4)))
    settings = EvaluationSettings(dtype=torch.float64, weight_decay=0.5)
    slicer = RandomDirectionSlicer(wrapper, settings=settings, measures=("gradient_norm",), progress=False)
    found = slicer.slice_1d(n_samples=5, normalize="none", ignore="none")
    direction = random_direction({"theta": model.theta}, seed=0, axis=0)["theta"].double()
    expected = [1.5 * float((model.theta.detach().double() + a * direction).norm()) for a in found.axes[0].values]
    np.testing.assert_allclose(found.array("gradient_norm"), expected, rtol=1e-9)
    assert found.measures["gradient_norm"].value == pytest.approx(7.5)


def test_recomputed_batchnorm_is_a_part_of_the_loss_whose_gradient_it_is(network) -> None:
    """The slope of the slice is ∇L·d, so no steeper than ‖∇L‖·‖d‖; at frozen statistics it is another number."""
    net = network("convolution")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    before = {key: tensor.clone() for key, tensor in wrapper.state().items()}
    from slicer_core.methods.linear import Linear
    from slicer_core.methods.method import SliceOptions

    end = {**wrapper.state(), **wrapper.get_random_parameters(0.3, seed=1)}

    class Given(Linear):
        def plan(self, center, options):
            from slicer_core.methods.linear import line_plan

            return line_plan(center, end, options, {})

    slicer = LinearInterpolationSlicer(wrapper, settings=FLOAT64, measures=("gradient_norm",), progress=False)
    options = SliceOptions(grid=(3,), range=((0.0, 1.0),))
    found = {
        policy: slicer.take(
            "linear",
            Given(),
            None,
            SliceOptions(grid=options.grid, range=options.range, batchnorm=policy),
        )
        for policy in ("frozen", "recompute")
    }
    norms = {policy: data.array("gradient_norm") for policy, data in found.items()}
    assert not np.allclose(norms["frozen"], norms["recompute"], rtol=1e-3)
    # BatchNorm's statistics at the point, by torch's own average over the batches.
    model = copy.deepcopy(net.model).double()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(end[key])
    batches = [part.double() for part in net.inputs.split(7)]
    torch.optim.swa_utils.update_bn(batches, model)
    model.eval()
    nn.functional.cross_entropy(model(net.inputs.double()), net.classes).backward()
    expected = float(torch.stack([part.grad.square().sum() for part in model.parameters()]).sum().sqrt())
    assert norms["recompute"][-1] == pytest.approx(expected, rel=1e-5)
    assert all(torch.equal(tensor, before[key]) for key, tensor in wrapper.state().items())
