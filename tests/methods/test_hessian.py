"""Slices along eigenvectors: what they are along, how far they go, and that a run that goes on has the same."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from slicer_core import EvaluationSettings, HessianSlicer, ModelWrapper
from slicer_core.errors import ResourceError, UsageError
from slicer_core.methods.hessian import Hessian1D, Hessian2D
from slicer_core.slices import Slice, decode_slice, encode_slice


@pytest.fixture(scope="module")
def network() -> ModelWrapper:
    """115 parameters in float64, of which the first layer's bias is frozen."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(5, 10), nn.Tanh(), nn.Linear(10, 5)).double()
    model[0].bias.requires_grad_(False)
    return ModelWrapper(model, nn.CrossEntropyLoss(), (torch.randn(30, 5).double(), torch.randint(0, 5, (30,))))


@pytest.fixture(scope="module")
def dense(network) -> tuple[np.ndarray, np.ndarray]:
    """The eigenvalues and vectors of the Hessian that torch writes out."""
    names = network.varying_names()
    state = network.state()
    ((inputs, target),) = [batch.data for batch in network.split("train").batches()]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([state[name].numel() for name in names])
        named = {name: part.reshape(state[name].shape) for name, part in zip(names, parts, strict=True)}
        return nn.functional.cross_entropy(functional_call(network.model, named, (inputs,)), target)

    hessian = torch.autograd.functional.hessian(loss, torch.cat([state[name].reshape(-1) for name in names]))
    assert isinstance(hessian, torch.Tensor)
    return np.linalg.eigh(hessian.numpy())


def take(wrapper: ModelWrapper, **options) -> Slice:
    return HessianSlicer(wrapper, progress=False).slice_1d(**options)


@pytest.mark.parametrize("which", ["top", "bottom"])
def test_second_differences_along_the_axis_are_the_eigenvalue(network, dense, which) -> None:
    found = take(network, n_samples=5, range=(-2e-3, 2e-3), which=which)
    eigenvalue = found.directions[0].eigenvalue
    assert eigenvalue == pytest.approx(dense[0][-1 if which == "top" else 0], abs=1e-6)
    step = found.axes[0].values[1] - found.axes[0].values[0]
    loss = found.loss
    assert (loss[1] - 2 * loss[2] + loss[3]) / step**2 == pytest.approx(eigenvalue, rel=1e-3, abs=1e-5)
    assert found.directions[0].norm == pytest.approx(1.0)
    assert found.measures["eigenvalue_1"].value == eigenvalue
    assert found.measures["eigenvalue_1"].details["residual"] < 1e-4 * dense[0][-1]


def test_a_plane_of_one_of_each_end_is_orthogonal(network, dense) -> None:
    found = HessianSlicer(network, progress=False).slice_2d(grid_size=3, which="both")
    assert [direction.recipe["which"] for direction in found.directions] == ["top", "bottom"]
    assert [direction.eigenvalue for direction in found.directions] == pytest.approx(
        [dense[0][-1], dense[0][0]], abs=1e-4
    )
    assert found.cosine == pytest.approx(0.0, abs=1e-6)
    assert decode_slice(encode_slice(found)).directions == found.directions


def test_the_range_is_where_a_parabola_has_risen_by_half_the_loss(network) -> None:
    found = HessianSlicer(network, progress=False).slice_2d(grid_size=(3, 5))
    assert found.center is not None
    for axis, direction in zip(found.axes, found.directions, strict=True):
        expected = np.sqrt(max(found.center.loss["train"], 0.1) / abs(direction.eigenvalue))
        assert axis.values[[0, -1]] == pytest.approx([-expected, expected])
    flat = take(network, n_samples=3, which="bottom", params=("2.*",))
    norm = np.sqrt(sum(network.state()[name].square().sum().item() for name in ("2.weight", "2.bias")))
    assert flat.axes[0].values[-1] <= norm


def test_frozen_and_excluded_parameters_stay(network) -> None:
    options = {"curvature": "ggn"}
    assert {"0.weight", "2.weight", "2.bias"} == set(network.varying_names())
    whole = take(network, n_samples=3, **options)
    part = take(network, n_samples=3, params=("0.*",), **options)
    assert part.directions[0].eigenvalue < whole.directions[0].eigenvalue
    assert part.directions[0].recipe["curvature"] == "ggn"


def test_weight_decay_is_a_part_of_the_curvature(network) -> None:
    plain = take(network, n_samples=3)
    settings = EvaluationSettings(weight_decay=0.25)
    decayed = HessianSlicer(network, settings=settings, progress=False).slice_1d(n_samples=3)
    assert decayed.directions[0].eigenvalue == pytest.approx(plain.directions[0].eigenvalue + 0.25, rel=1e-4)


def test_the_model_is_left_alone(network) -> None:
    before = {name: tensor.clone() for name, tensor in network.state().items()}
    network.model.train()
    take(network, n_samples=3)
    assert network.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state().items())
    assert all(parameter.grad is None for parameter in network.model.parameters())


def test_bad_options_are_told(network) -> None:
    with pytest.raises(UsageError, match=r"--curvature 'fisher' is not one of hessian, ggn"):
        Hessian2D(curvature="fisher")
    with pytest.raises(UsageError, match=r"--which 'side'"):
        Hessian1D(which="side")
    with pytest.raises(UsageError, match=r"--which both needs two axes"):
        take(network, n_samples=3, which="both")
    streaming = EvaluationSettings(strategy="streaming")
    with pytest.raises(ResourceError, match="several copies of the parameters"):
        HessianSlicer(network, settings=streaming, progress=False).slice_1d(n_samples=3)


def test_the_slice_is_json(network) -> None:
    found = take(network, n_samples=3)
    assert json.loads(encode_slice(found)[0])["directions"][0]["eigenvalue"] == found.directions[0].eigenvalue


@pytest.mark.long
def test_what_torch_has_deprecated_is_no_error_of_who_makes_errors_of_warnings() -> None:
    code = (
        "import torch\n"
        "from torch import nn\n"
        "from slicer_core import EvaluationSettings, HessianSlicer, ModelWrapper, RandomDirectionSlicer\n"
        "data = torch.randn(8, 3), torch.arange(8) % 2\n"
        "wrapper = ModelWrapper(nn.Linear(3, 2), nn.CrossEntropyLoss(), data)\n"
        "HessianSlicer(wrapper, progress=False).slice_1d(n_samples=2, curvature='ggn')\n"
        "settings = EvaluationSettings(strategy='partial', compile='on')\n"
        "found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=2)\n"
        "assert found.evaluation['strategy'] == 'partial-compiled', found.evaluation\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
