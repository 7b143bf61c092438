from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from slicer_core import AxisParallelSlicer, LinearInterpolationSlicer, ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import CheckpointError, UsageError
from slicer_core.methods import METHODS, all_options, find_method
from slicer_core.methods.axis import Axis
from slicer_core.methods.method import CenterPoint, SliceOptions
from slicer_core.slices import GEOMETRIES, Slice, decode_slice, encode_slice


def center_loss(found: Slice, split: str = "train") -> float:
    assert found.center is not None
    return found.center.loss[split]


def wrapped(net) -> ModelWrapper:
    return ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)


def random(net, **options) -> Slice:
    return RandomDirectionSlicer(wrapped(net), progress=False).slice_1d(n_samples=3, **options)


def test_a_center_point_takes_the_place_of_the_current_parameters(network) -> None:
    net = network("mlp")
    there = wrapped(net).get_random_parameters(0.5, seed=1)
    found = random(net, center_point=there)
    moved = network("mlp")
    moved.model.load_state_dict(there)
    np.testing.assert_array_equal(found.loss, random(moved).loss)
    assert found.loss[1] != random(net).loss[1]


def test_a_part_of_the_parameters_moves_only_that_part(network) -> None:
    net = network("mlp")
    found = random(net, center_point={"2.bias": torch.tensor([5.0, 0.0, 0.0])})
    moved = copy.deepcopy(net.model)
    with torch.no_grad():
        moved[2].bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
        expected = F.cross_entropy(moved(net.inputs), net.classes).item()
    assert center_loss(found) == pytest.approx(expected, rel=1e-6)


def test_a_state_dict_with_all_names_of_tied_tensors_is_a_point(network) -> None:
    net = network("attention")
    saved = {name: tensor + 0.1 for name, tensor in net.model.state_dict().items()}
    assert "head.weight" in saved
    found = random(net, center_point=saved)
    moved = copy.deepcopy(net.model).eval()
    moved.load_state_dict(saved)
    with torch.no_grad():
        expected = F.cross_entropy(moved(net.inputs), net.classes).item()
    assert center_loss(found) == pytest.approx(expected, rel=1e-6)
    only = random(net, center_point={"head.weight": saved["head.weight"]})
    assert center_loss(only) != center_loss(random(net))


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"2.wieght": torch.zeros(3, 6)}, r"has '2\.wieght', which the model does not \(nearest: 2\.weight"),
        ({"2.weight": torch.zeros(6, 3)}, r"has '2\.weight' of shape \[6, 3\], the model's is \[3, 6\]"),
    ],
)
def test_a_point_of_another_model_is_refused(point, message, network) -> None:
    net = network("mlp")
    with pytest.raises(CheckpointError, match=f"center_point {message}"):
        random(net, center_point=point)
    with pytest.raises(CheckpointError, match=f"end_point {message}"):
        LinearInterpolationSlicer(wrapped(net), progress=False).slice(end_point=point)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weight: weight.numpy(), "a ndarray under '0.weight', expected a tensor"),
        (lambda weight: weight.to_sparse(), "sparse_coo under '0.weight'"),
        (lambda weight: weight.to("meta"), "without data under '0.weight'"),
        (lambda weight: weight.to(torch.complex64), "'0.weight' in complex numbers, the model's is torch.float32"),
    ],
)
def test_a_point_that_is_not_of_whole_tensors_is_refused(change, message, network) -> None:
    net = network("mlp")
    weight = wrapped(net).get_parameters()["0.weight"]
    with pytest.raises(CheckpointError, match=message):
        random(net, center_point={"0.weight": change(weight)})


def test_a_module_in_place_of_its_tensors_is_refused(network) -> None:
    net = network("mlp")
    with pytest.raises(CheckpointError, match="center_point is a Sequential, expected named tensors"):
        random(net, center_point=nn.Sequential())


def test_sizes_and_ranges_may_be_arrays_and_one_for_all_axes_or_one_for_each(network) -> None:
    slicer = RandomDirectionSlicer(wrapped(network("mlp")), progress=False)
    expected = slicer.slice_2d(grid_size=(3, 2), range=((-1.0, 1.0), (-1.0, 1.0)), params=("0.*",))
    found = slicer.slice_2d(grid_size=np.array([3, 2]), range=np.array([-1.0, 1.0]), params="0.*")
    np.testing.assert_array_equal(found.arrays[0].values, expected.arrays[0].values)
    assert slicer.slice_2d(grid_size=np.int64(2)).arrays[0].values.shape == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid_size": 3.5}, "the number of points is 3.5: give a whole number, or 2 of them, one for each axis"),
        ({"grid_size": (3, 3, 3)}, r"the number of points is \(3, 3, 3\)"),
        ({"grid_size": "3"}, "the number of points is '3'"),
        ({"range": 1.0}, r"the range is 1.0: give a pair \(low, high\), or 2 of them"),
        ({"range": (0.0,)}, r"the range is \(0.0,\)"),
        ({"range": ((0, 1), (0, "1"))}, r"the range is \(\(0, 1\), \(0, '1'\)\)"),
    ],
)
def test_what_is_no_size_or_range_is_refused(arguments, message, network) -> None:
    with pytest.raises(UsageError, match=message):
        RandomDirectionSlicer(wrapped(network("mlp")), progress=False).slice_2d(**arguments)


def test_the_same_seed_gives_the_same_slice_and_another_another(network) -> None:
    net = network("mlp")
    np.testing.assert_array_equal(random(net, seed=1).loss, random(net, seed=1).loss)
    assert random(net, seed=1).loss[0] != random(net, seed=2).loss[0]


def test_the_directions_are_described_as_they_were_used(network, plain_direction) -> None:
    net = network("mlp")
    found = RandomDirectionSlicer(wrapped(net), progress=False).slice_2d(grid_size=3, seed=9)
    state = {name: p.detach() for name, p in net.model.named_parameters()}
    flat = [
        torch.cat([tensor.reshape(-1) for tensor in plain_direction(state, seed=9, axis=axis).values()])
        for axis in (0, 1)
    ]
    assert [d.norm for d in found.directions] == pytest.approx([f.norm().item() for f in flat], rel=1e-6)
    assert found.cosine == pytest.approx(F.cosine_similarity(flat[0], flat[1], dim=0).item(), abs=1e-6)
    recipe = found.directions[1].recipe
    assert {key: recipe[key] for key in ("kind", "seed", "axis", "normalize", "ignore")} == {
        "kind": "random", "seed": 9, "axis": 1, "normalize": "filter", "ignore": "biasbn"
    }  # fmt: skip
    assert (recipe["tensors"], recipe["entries"]) == (2, 48)
    parameters = torch.cat([p.reshape(-1) for p in state.values()])
    assert found.center is not None
    assert found.center.norm == pytest.approx(parameters.norm().item(), rel=1e-6)


def test_raw_tensors_of_a_parametrized_weight_are_named_in_the_recipe(network) -> None:
    recipe = random(network("weight_norm")).directions[0].recipe
    assert recipe["raw_tensors"] == [
        "0.parametrizations.weight.original0",
        "0.parametrizations.weight.original1",
    ]


def test_frozen_parameters_get_no_random_or_axis_direction_but_move_on_a_line(network) -> None:
    net = network("mlp")
    net.model[0].requires_grad_(False)
    wrapper = wrapped(net)
    assert random(net).directions[0].recipe["tensors"] == 1
    curves = AxisParallelSlicer(wrapper, progress=False).slice(n_samples=2, params_to_slice=[0]).curves
    assert curves[0].name == "2.weight[0,0]"
    end = wrapper.get_parameters()
    end["0.weight"] += 1
    line = LinearInterpolationSlicer(wrapper, progress=False).slice(end_point=end, n_samples=5)
    assert line.directions[0].norm == pytest.approx(30**0.5)
    net.model.requires_grad_(False)
    with pytest.raises(UsageError, match="every parameter of the model is frozen"):
        random(net)


def test_parameters_can_be_chosen_by_name(network, reference, plain_direction, close_to_float64) -> None:
    net = network("mlp")
    found = random(net, params=("2.*",))
    assert found.directions[0].recipe["tensors"] == 1
    direction = plain_direction({"2.weight": net.model[2].weight.detach()}, seed=0, axis=0)
    expected = reference(net.model, nn.CrossEntropyLoss(), net.data).along([direction], [(-1.0,), (0.0,), (1.0,)])
    close_to_float64(found.loss, expected)
    with pytest.raises(UsageError, match="matches no parameter"):
        random(net, params=("9.*",))


def test_the_default_of_axis_is_cut_to_what_a_small_model_has_and_says_so(network) -> None:
    net = network("mlp")
    net.model[0].requires_grad_(False)
    net.model[2].weight.requires_grad_(False)
    wrapper = wrapped(net)
    found = AxisParallelSlicer(wrapper, progress=False).slice(n_samples=2)
    assert [curve.name for curve in found.curves] == ["2.bias[0]", "2.bias[1]", "2.bias[2]"]
    assert found.directions[0].recipe["params_to_slice"] == "0:3"
    state = wrapper.state()
    center = CenterPoint(wrapper=wrapper, state=state, scale_state=state, other=lambda name: state)
    assert Axis().plan(center, SliceOptions()).notes == (
        "--params-to-slice 0:10 is 0:3 here, all scalars that can vary",
    )
    with pytest.raises(UsageError, match="ends after the last of 3"):
        AxisParallelSlicer(wrapper, progress=False).slice(params_to_slice="0:9")


def test_curves_say_which_scalar_they_move_and_where_it_is(network) -> None:
    net = network("mlp")
    found = AxisParallelSlicer(wrapped(net), progress=False).slice(n_samples=3, params_to_slice="2.weight[1,4]")
    (curve,) = found.curves
    assert (curve.name, curve.layer, curve.index, curve.shape) == ("2.weight[1,4]", "2", (1, 4), (3, 6))
    assert curve.center == net.model[2].weight[1, 4].item()
    assert found.axes[0].values.tolist() == [-1.0, 0.0, 1.0]


def test_each_slicer_gives_a_slice_that_can_be_stored(network) -> None:
    net = network("convolution")
    wrapper = wrapped(net)
    taken = [
        random(net),
        RandomDirectionSlicer(wrapper, progress=False).slice_2d(grid_size=(2, 3)),
        LinearInterpolationSlicer(wrapper, progress=False).slice(
            end_point=wrapper.get_random_parameters(0.1), n_samples=5
        ),
        AxisParallelSlicer(wrapper, progress=False).slice(n_samples=2, params_to_slice=[0, 1]),
    ]
    for found in taken:
        again = decode_slice(encode_slice(found))
        np.testing.assert_array_equal(again.loss, found.loss)
        assert again.geometry in GEOMETRIES[again.slice_type]
        assert again.array(role="count").tolist() == np.full(found.shape, 22).tolist()
        assert (found.array(role="stderr") > 0).all()
        assert found.evaluation["samples"] == {"train": 22}


@pytest.mark.parametrize(
    ("take", "message"),
    [
        (lambda s: s.slice_2d(grid_size=(3,)), r"the number of points is \(3,\)"),
        (lambda s: s.slice_2d(grid_size=1), "--grid needs 2"),
        (lambda s: s.slice_1d(n_samples=0), "--grid needs 2"),
        (lambda s: s.slice_1d(range=(1.0, -1.0)), "--range 1:-1 is the wrong way round"),
        (lambda s: s.slice_1d(normalize="filters"), "--normalize 'filters'"),
        (lambda s: s.slice_1d(ignore="bias"), "--ignore 'bias'"),
    ],
)
def test_arguments_that_can_not_be_are_refused(take, message, network) -> None:
    with pytest.raises(UsageError, match=message):
        take(RandomDirectionSlicer(wrapped(network("mlp")), progress=False))


def test_a_line_to_nowhere_is_refused(network) -> None:
    net = network("mlp")
    slicer = LinearInterpolationSlicer(wrapped(net), progress=False)
    with pytest.raises(UsageError, match="end_point is missing"):
        slicer.slice()
    with pytest.raises(UsageError, match="same point"):
        slicer.slice(end_point=wrapped(net).get_parameters())
    with pytest.raises(UsageError, match="not finite"):
        slicer.slice(end_point={"0.bias": torch.full((6,), float("nan"))})


def test_directions_that_would_be_zero_or_not_finite_are_refused_with_the_reason(network) -> None:
    net = network("mlp")
    with pytest.raises(UsageError, match=r"zero everywhere .*--ignore none"):
        random(net, params=("*.bias",))
    assert random(net, params=("*.bias",), ignore="none").directions[0].norm > 0
    with torch.no_grad():
        net.model[0].weight[0, 0] = float("inf")
    with pytest.raises(UsageError, match="weights that are not finite"):
        random(net)


def test_the_table_has_each_method_with_its_options() -> None:
    for name, row in METHODS.items():
        assert find_method(name) is row
        assert row.geometry in GEOMETRIES[row.slice_type]
        method = row.create({option.name: option.default for option in row.options})
        assert method == row.create({})
        SliceOptions.parse(grid=row.grid, range=row.range, num_axes=2 if row.geometry == "grid" else 1)
    assert {"to", "params_to_slice"} <= set(all_options())


def test_a_foreign_option_and_an_unknown_method_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--params-to-slice is an option of --method axis, not of linear .*--to"):
        find_method("linear").create({"params_to_slice": "0:3"})
    with pytest.raises(UsageError, match=r"'random3d' is not one of .*random2d"):
        find_method("random3d")
