"""Bands over several random directions, and a second direction that is orthogonal to the first."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import UsageError
from slicer_core.methods.method import CenterPoint, SliceOptions
from slicer_core.methods.preparation import Preparation
from slicer_core.methods.random_direction import Random1D, Random2D
from slicer_core.parameters import LazyTensors, NamedTensors, rows_of
from slicer_core.tolerance import Tolerance

BAND = ("loss_mean", "loss_low", "loss_high")


def wrapped(net: Any) -> ModelWrapper:
    return ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)


def slicer(net: Any, **settings: Any) -> RandomDirectionSlicer:
    return RandomDirectionSlicer(wrapped(net), settings=EvaluationSettings(**settings), progress=False)


def center_of(net: Any) -> CenterPoint:
    wrapper = wrapped(net)
    state = wrapper.state()
    return CenterPoint(wrapper=wrapper, state=state, scale_state=state, other=lambda name: state)


def flat(vector: NamedTensors) -> Tensor:
    return torch.cat([vector[name].reshape(-1) for name in vector]).double()


def parameters(net: Any) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in net.model.named_parameters()}


@pytest.mark.parametrize("strategy", ["loop", "partial"])
def test_a_band_of_a_curve_is_over_the_losses_along_each_direction(
    strategy, network, reference, plain_direction, close_to_float64
) -> None:
    net = network("mlp")
    found = slicer(net, strategy=strategy).slice_1d(n_samples=5, repeats=4, seed=3)
    places = [(alpha,) for alpha in found.axes[0].values]
    loop = reference(net.model, nn.CrossEntropyLoss(), net.data)
    losses = np.array([loop.along([plain_direction(parameters(net), seed=3, axis=axis)], places) for axis in range(4)])
    close_to_float64(found.loss, losses[0])
    for name, expected in zip(BAND, (losses.mean(0), losses.min(0), losses.max(0)), strict=True):
        close_to_float64(found.array(name), expected)
    assert found.directions[0].recipe["repeats"] == 4
    assert found.directions[0].recipe["axes"] == [0, 1, 2, 3]


def test_a_band_of_a_plane_is_over_pairs_and_has_the_weight_decay(
    network, reference, plain_direction, close_to_float64
) -> None:
    net = network("mlp")
    found = slicer(net, weight_decay=0.1).slice_2d(grid_size=(3, 2), range=((-1.0, 1.0), (0.0, 1.0)), repeats=3)
    places = [(a, b) for a in found.axes[0].values for b in found.axes[1].values]
    state = parameters(net)
    loop = reference(net.model, nn.CrossEntropyLoss(), net.data)
    losses = []
    for repeat in range(3):
        pair = [plain_direction(state, seed=0, axis=2 * repeat + axis) for axis in (0, 1)]
        penalties = [
            0.05 * sum((tensor.double() + a * pair[0].get(name, 0) + b * pair[1].get(name, 0)).square().sum().item()
                       for name, tensor in state.items())
            for a, b in places
        ]  # fmt: skip
        losses.append((loop.along(pair, places) + penalties).reshape(3, 2))
    close_to_float64(found.loss, losses[0])
    expected = np.mean(losses, axis=0), np.min(losses, axis=0), np.max(losses, axis=0)
    for name, values in zip(BAND, expected, strict=True):
        close_to_float64(found.array(name), values)
    assert found.directions[1].recipe["axes"] == [1, 3, 5]


def test_the_slice_of_a_band_is_the_slice_without_one(network) -> None:
    net = network("convolution")
    alone = slicer(net, strategy="partial").slice_2d(grid_size=3)
    banded = slicer(net, strategy="partial").slice_2d(grid_size=3, repeats=3)
    arrays = {(array.name, array.role): array.values for array in banded.arrays}
    for array in alone.arrays:
        np.testing.assert_array_equal(arrays.pop((array.name, array.role)), array.values)
    assert {name for name, _ in arrays} == set(BAND)
    assert banded.measures == alone.measures
    assert (banded.array("loss_low") <= banded.loss).all()
    assert (banded.array("loss_high") >= banded.loss).all()


def test_a_direction_along_which_the_loss_is_not_finite_shows_in_the_band(network) -> None:
    net = network("mlp")
    found = slicer(net, strategy="loop").slice_1d(n_samples=3, range=(0.0, 1e38), normalize="none", repeats=2)
    assert not np.isfinite(found.array("loss_mean")[-1])


@pytest.mark.parametrize("normalize", ["filter", "none"])
def test_orthogonal_takes_the_projection_out_and_keeps_the_norm(normalize, network) -> None:
    net = network("convolution")
    options = SliceOptions(normalize=normalize)
    first, second = Random2D().plan(center_of(net), options).blocks[0].directions()
    plan = Random2D(orthogonal=True).plan(center_of(net), options)
    kept, made = plan.blocks[0].directions()
    rest = flat(second) - flat(first) * (flat(second) @ flat(first)) / flat(first).square().sum()
    torch.testing.assert_close(flat(kept), flat(first), rtol=0, atol=0)
    torch.testing.assert_close(flat(made), rest * flat(second).norm() / rest.norm(), rtol=1e-5, atol=1e-7)
    assert plan.directions[1].norm == pytest.approx(flat(second).norm().item(), rel=1e-6)
    assert plan.cosine is not None
    assert abs(plan.cosine) < 1e-6 < abs(Random2D().plan(center_of(net), options).cosine or 0)
    assert plan.directions[1].recipe["orthogonal_to"] == "direction_0"
    assert "orthogonal_to" not in plan.directions[0].recipe


def test_every_pair_of_a_band_is_orthogonal(network) -> None:
    plan = Random2D(orthogonal=True, repeats=3).plan(center_of(network("mlp")), SliceOptions())
    for block in plan.all_blocks:
        first, second = map(flat, block.directions())
        assert abs((first @ second).item()) < 1e-6 * first.norm() * second.norm()


def test_directions_that_are_made_block_by_block_are_the_same(network) -> None:
    center = center_of(network("mlp"))
    state = center.state
    lazy = LazyTensors(
        {name: tensor.to("meta") for name, tensor in state.items()},
        lambda name, start, stop: rows_of(state, name, start, stop),
    )
    whole = Random2D(orthogonal=True).plan(center, SliceOptions()).blocks[0].directions()
    streamed = Random2D(orthogonal=True).plan(replace(center, state=lazy, scale_state=lazy), SliceOptions())
    for ours, theirs in zip(whole, streamed.blocks[0].directions(), strict=True):
        assert isinstance(theirs, LazyTensors)
        torch.testing.assert_close(flat(ours), flat(theirs))


def test_a_single_entry_has_no_orthogonal_direction() -> None:
    model = nn.Linear(1, 1, bias=False)
    net_slicer = RandomDirectionSlicer(ModelWrapper(model, nn.MSELoss(), (torch.ones(3, 1), torch.ones(3, 1))))
    with pytest.raises(UsageError, match=r"--orthogonal: .*parallel.*may move: 1"):
        net_slicer.slice_2d(grid_size=2, orthogonal=True)


@pytest.mark.parametrize("repeats", [0, -1, 1001, True, 2.5, "3"])
def test_repeats_that_can_not_be_are_refused(repeats: Any) -> None:
    for method in (Random1D, Random2D):
        with pytest.raises(UsageError, match="is not a number of random directions from 1 to 1000"):
            method(repeats=repeats)


def test_a_band_to_a_tolerance_is_refused(network) -> None:
    preparation = Preparation(settings=EvaluationSettings(tolerance=Tolerance.parse("1%")))
    center = replace(center_of(network("mlp")), preparation=preparation)
    with pytest.raises(UsageError, match="--repeats and --tolerance"):
        Random1D(repeats=2).plan(center, SliceOptions())
    assert math.isfinite(Random1D().plan(center, SliceOptions()).directions[0].norm)
