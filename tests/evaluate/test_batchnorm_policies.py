"""BatchNorm's running statistics along a slice, against torch's own `update_bn` and interpolation by hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from slicer_core import EvaluationSettings, ModelWrapper
from slicer_core.errors import UsageError
from slicer_core.methods.assemble import assemble
from slicer_core.methods.axis import Axis
from slicer_core.methods.evaluation import evaluate_plan
from slicer_core.methods.linear import Linear
from slicer_core.methods.method import CenterPoint, SliceOptions
from slicer_core.methods.random_direction import Random1D, Random2D
from slicer_core.slices import Slice

BATCH = 8


def center_loss(found: Slice, split: str = "train") -> float:
    assert found.center is not None
    return found.center.loss[split]


def other_point(net: Any) -> dict[str, Tensor]:
    """Another trained network: other weights, other running statistics."""
    generator = torch.Generator().manual_seed(5)
    state = {
        name: p.detach() + 0.3 * torch.randn(p.shape, generator=generator) for name, p in net.model.named_parameters()
    }
    for name, buffer in net.model.named_buffers():
        state[name] = buffer * 1.7 + 0.1 if buffer.is_floating_point() else buffer + 100
    return state


def take(
    net: Any, method: Any, options: SliceOptions, end: Mapping[str, Tensor] | None = None, **settings: Any
) -> Slice:
    train = [(net.inputs[i : i + BATCH], net.classes[i : i + BATCH]) for i in range(0, 22, BATCH)]
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), train, test_data=(net.inputs[:6] * 2, net.classes[:6]))
    center = CenterPoint(
        wrapper=wrapper, state=wrapper.state(), scale_state=wrapper.state(), other=lambda name: end or {}
    )
    plan = method.plan(center, options)
    tiles = evaluate_plan(
        plan,
        center,
        splits=("train", "test"),
        settings=EvaluationSettings(**settings),
        batchnorm=options.batchnorm or "frozen",
    )
    return assemble(plan, tiles, center, config={})


def losses_on_the_line(net: Any, end: Mapping[str, Tensor], alphas: Any, *, buffers: str, split: str) -> list[float]:
    inputs, classes = (net.inputs, net.classes) if split == "train" else (net.inputs[:6] * 2, net.classes[:6])
    found = []
    for alpha in alphas:
        model = copy.deepcopy(net.model).double()
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_((1 - alpha) * p + alpha * end[name].double())
            for name, buffer in model.named_buffers():
                if buffers == "interpolate" and buffer.is_floating_point():
                    buffer.copy_((1 - alpha) * buffer + alpha * end[name].double())
            if buffers == "recompute":
                update_bn([net.inputs[i : i + BATCH].double() for i in range(0, 22, BATCH)], model)
            found.append(F.cross_entropy(model.eval()(inputs.double()), classes).item())
    return found


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("strategy", ["loop", "vmap", "partial"])
@pytest.mark.parametrize("policy", ["frozen", "interpolate", "recompute"])
def test_a_line_follows_its_policy(policy, strategy, split, network, close_to_float64) -> None:
    net = network("convolution")
    end = other_point(net)
    options = SliceOptions(grid=(5,), range=((0.0, 1.0),), batchnorm=policy)
    found = take(net, Linear(to="last"), options, end, strategy=strategy)
    expected = losses_on_the_line(net, end, found.axes[0].values, buffers=policy, split=split)
    close_to_float64(found.array(split=split), np.array(expected))
    assert found.evaluation["batchnorm"] == policy


def test_recomputing_beyond_the_ends_is_update_bn_too(network, close_to_float64) -> None:
    net = network("convolution")
    end = other_point(net)
    found = take(net, Linear(to="last"), SliceOptions(grid=(5,), range=((-0.5, 1.5),), batchnorm="recompute"), end)
    expected = losses_on_the_line(net, end, found.axes[0].values, buffers="recompute", split="train")
    close_to_float64(found.loss, np.array(expected))


@pytest.mark.parametrize("strategy", ["loop", "partial", "streaming"])
def test_layers_that_share_statistics_recompute_them_together(strategy, network) -> None:
    net = network("convolution")
    second = nn.BatchNorm2d(4)
    second.running_mean, second.running_var = net.model.norm.running_mean, net.model.norm.running_var
    net.model.inner = nn.Sequential(net.model.inner, second)
    options = SliceOptions(grid=(2,), range=((0.0, 1.0),), batchnorm="recompute")
    found = take(net, Linear(), options, other_point(net), strategy=strategy)

    # In float32: buffers that are converted share no memory any more.
    model = copy.deepcopy(net.model)
    update_bn([net.inputs[i : i + BATCH] for i in range(0, 22, BATCH)], model)
    assert model.norm.running_mean is model.inner[1].running_mean
    expected = F.cross_entropy(model.eval()(net.inputs), net.classes).item()
    assert found.loss[0] == pytest.approx(expected, rel=1e-5)


def test_recomputing_does_not_depend_on_the_statistics_that_were_there(network) -> None:
    """Those of a diverged training are not finite."""
    net = network("convolution")
    end = other_point(net)
    options = SliceOptions(grid=(3,), range=((0.0, 1.0),), batchnorm="recompute")
    before = take(net, Linear(to="last"), options, end)
    with torch.no_grad():
        net.model.norm.running_mean.fill_(float("nan"))
        net.model.norm.running_var.fill_(float("inf"))
    np.testing.assert_array_equal(take(net, Linear(to="last"), options, end).loss, before.loss)
    assert np.isfinite(before.loss).all()


def test_a_point_that_overflows_does_not_reach_the_next_ones_statistics(network) -> None:
    net = network("convolution")
    end = other_point(net)
    with torch.no_grad():
        net.model.stem.weight.mul_(1e38).mul_(9)
    found = take(net, Linear(to="last"), SliceOptions(grid=(2,), range=((0.0, 1.0),), batchnorm="recompute"), end)
    assert not np.isfinite(found.loss[0])
    assert np.isfinite(found.loss[-1])


def test_dropout_stays_off_while_statistics_are_recomputed(network) -> None:
    net = network("convolution")
    dropout = nn.Dropout(0.9)
    net.model.head = nn.Sequential(dropout, net.model.head)
    options = SliceOptions(grid=(3,), range=((0.0, 1.0),), batchnorm="recompute")
    first, again = (take(net, Linear(to="random"), options).loss for _ in range(2))
    np.testing.assert_array_equal(first, again)
    dropout.p = 0.0
    np.testing.assert_array_equal(take(net, Linear(to="random"), options).loss, first)


def test_the_ends_are_marked_with_their_own_statistics(network, close_to_float64) -> None:
    net = network("convolution")
    end = other_point(net)
    found = take(net, Linear(to="last"), SliceOptions(grid=(3,), range=((0.0, 1.0),), batchnorm="recompute"), end)
    expected = losses_on_the_line(net, end, [0.0, 1.0], buffers="interpolate", split="test")
    close_to_float64(np.array([marker.loss["test"] for marker in found.markers]), np.array(expected))


@pytest.mark.parametrize("limits", [(-0.1, 1.0), (0.0, 1.01)])
def test_interpolation_beyond_the_ends_is_refused(limits, network) -> None:
    net = network("convolution")
    with pytest.raises(UsageError, match="variance turns negative"):
        take(net, Linear(to="last"), SliceOptions(range=(limits,), batchnorm="interpolate"), other_point(net))


@pytest.mark.parametrize("method", [Random1D(), Random2D(), Axis()])
def test_interpolation_without_a_second_point_is_refused(method, network) -> None:
    with pytest.raises(UsageError, match="needs a second checkpoint"):
        take(network("convolution"), method, SliceOptions(batchnorm="interpolate"))


def test_an_unknown_policy_is_refused(network) -> None:
    with pytest.raises(UsageError, match="'reestimate' is not one of frozen, interpolate, recompute"):
        take(network("convolution"), Random1D(), SliceOptions(batchnorm="reestimate"))


def test_random_directions_keep_the_centers_statistics_and_lines_recompute_unless_told() -> None:
    assert (Random1D.default_batchnorm, Random2D.default_batchnorm, Axis.default_batchnorm) == ("frozen",) * 3
    assert Linear.default_batchnorm == "recompute"


@pytest.mark.parametrize("method", [Random1D(), Axis()])
def test_other_methods_can_recompute(method, network) -> None:
    net = network("convolution")
    options = SliceOptions(grid=(3,), batchnorm="recompute")
    recomputed, frozen = take(net, method, options), take(net, method, SliceOptions(grid=(3,)))
    assert recomputed.loss.shape == frozen.loss.shape
    assert np.abs(recomputed.loss - frozen.loss).min() > 1e-4
    np.testing.assert_array_equal(center_loss(recomputed), center_loss(frozen))


def test_a_network_without_running_statistics_does_not_care(network) -> None:
    net = network("mlp")
    found = [
        take(net, Linear(to="random"), SliceOptions(grid=(4,), range=((-0.5, 1.5),), batchnorm=policy)).loss
        for policy in ("frozen", "interpolate", "recompute")
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
