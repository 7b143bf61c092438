"""`custom`: slices along given directions, and files of directions that can't be used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from slicer_core import CustomSlicer, EvaluationSettings, ModelWrapper
from slicer_core.errors import UsageError
from slicer_core.job import Job, run_job
from slicer_core.job.prepare import prepare
from slicer_core.job.reporter import Reporter

EXAMPLE = Path(__file__).resolve().parents[2] / "checkpoints_examples" / "digits_mlp"
FLOAT64 = EvaluationSettings(dtype=torch.float64)
MakeJob = Callable[..., Job]


def test_a_plane_of_given_directions(network, reference) -> None:
    """One in a single tensor; a frozen parameter moves too."""
    net = network("mlp")
    net.model[0].requires_grad_(False)
    first = {"0.weight": torch.randn(6, 5)}
    second = {name: torch.randn_like(parameter) for name, parameter in net.model.named_parameters()}
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    found = CustomSlicer(wrapper, settings=FLOAT64, progress=False).slice([first, second], grid_size=(2, 3))
    assert (found.slice_type, found.geometry, found.shape) == ("custom", "grid", (2, 3))
    points = [(a, b) for a in found.axes[0].values for b in found.axes[1].values]
    expected = reference(net.model, nn.CrossEntropyLoss(), net.data).along([first, second], points)
    np.testing.assert_allclose(found.loss.reshape(-1), expected, rtol=1e-6)
    assert found.directions[0].norm == pytest.approx(first["0.weight"].norm().item())
    products = (first["0.weight"] * second["0.weight"]).sum().item()
    flat = torch.cat([tensor.reshape(-1) for tensor in second.values()])
    assert found.cosine == pytest.approx(products / (first["0.weight"].norm() * flat.norm()).item(), abs=1e-6)


@pytest.mark.parametrize("strategy", ["loop", "partial", "streaming"])
def test_directions_keep_their_digits_in_a_model_of_half_precision(
    strategy, network, reference, close_to_float64
) -> None:
    net = network("mlp")
    net.model.bfloat16()
    direction = {name: torch.randn(parameter.shape) for name, parameter in net.model.named_parameters()}
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    settings = EvaluationSettings(strategy=strategy, dtype="float32")
    found = CustomSlicer(wrapper, settings=settings, progress=False).slice([direction], grid_size=4)
    points = [(a,) for a in found.axes[0].values]
    close_to_float64(found.loss, reference(net.model, nn.CrossEntropyLoss(), net.data).along([direction], points))


class Scaled(nn.Module):
    """A parameter without a dimension, and one without an entry."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.scale = nn.Linear(4, 3), nn.Parameter(torch.tensor(1.5))
        self.none = nn.Parameter(torch.zeros(0, 3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.inner(inputs)) * self.scale + self.none.sum()


@pytest.mark.parametrize("strategy", ["loop", "streaming"])
def test_a_parameter_without_a_dimension_moves_too(strategy, reference, close_to_float64) -> None:
    model, data = Scaled(), (torch.randn(9, 4), torch.randint(0, 3, (9,)))
    direction = {name: torch.randn(parameter.shape) for name, parameter in model.named_parameters()}
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), data)
    slicer = CustomSlicer(wrapper, settings=EvaluationSettings(strategy=strategy), progress=False)
    found = slicer.slice([direction], grid_size=4)
    points = [(a,) for a in found.axes[0].values]
    close_to_float64(found.loss, reference(model, nn.CrossEntropyLoss(), data).along([direction], points))


def test_a_complex_direction_fits_a_complex_parameter_alone() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn = nn.Parameter(torch.ones(3, dtype=torch.complex64))
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * self.turn).abs() * self.scale

    data = (torch.rand(5, 3) + 1, torch.zeros(5, 3))
    slicer = CustomSlicer(ModelWrapper(Turned(), nn.MSELoss(), data), progress=False)
    found = slicer.slice([{"turn": torch.full((3,), 1j)}], grid_size=3)
    np.testing.assert_allclose(found.loss, (data[0] ** 2).mean().item() * np.array([2.0, 1.0, 2.0]), rtol=1e-5)
    assert found.directions[0].norm == pytest.approx(3**0.5)
    with pytest.raises(UsageError, match=r"scale in torch.complex64, expected floating"):
        slicer.slice([{"scale": torch.full((3,), 1j)}], grid_size=3)


def test_directions_along_one_line_are_refused(network) -> None:
    net = network("mlp")
    slicer = CustomSlicer(ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data), progress=False)
    along = {"0.weight": torch.randn(6, 5)}
    with pytest.raises(UsageError, match="the two directions are along one line"):
        slicer.slice([along, {"0.weight": -2 * along["0.weight"]}])
    for wrong in ([], [along] * 3):
        with pytest.raises(UsageError, match="give one or two"):
            slicer.slice(wrong)


@pytest.fixture
def make_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeJob:
    """A small job on two checkpoints, and `own.safetensors` with their difference."""
    folder = tmp_path / "sgd"
    folder.mkdir()
    for step in (0, 2000):
        shutil.copy(EXAMPLE / "sgd" / "checkpoints" / f"step-{step:06d}.safetensors", folder)
    shutil.copy(EXAMPLE / "subject.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    first, last = (load_file(f"sgd/step-{step}.safetensors") for step in ("000000", "002000"))
    save_file({f"direction_0/{name}": last[name] - first[name] for name in last}, "own.safetensors")

    def make(**values) -> Job:
        given = {
            "checkpoints": "sgd",
            "method": "custom",
            "grid": "3",
            "steps": "last",
            "directions": "own.safetensors",
        }
        return Job.from_values(given | values)

    return make


@pytest.mark.parametrize("strategy", ["loop", "streaming"])
def test_a_file_of_a_difference_leads_from_one_checkpoint_to_the_other(make_job: MakeJob, strategy: str) -> None:
    (result,) = run_job(make_job(strategy=strategy)).slices
    assert result.data.geometry == "curve"
    (start,) = run_job(make_job(steps="first", strategy=strategy, logdir="other")).slices
    assert result.data.loss[0] == pytest.approx(start.data.loss[1], rel=1e-5)
    assert start.data.loss[2] == pytest.approx(result.data.loss[1], rel=1e-5)


def test_two_directions_make_a_grid_with_the_path(make_job: MakeJob) -> None:
    own = load_file("own.safetensors")
    other = {name.replace("_0/", "_1/"): torch.randn_like(tensor) for name, tensor in own.items()}
    save_file(own | other, "two.safetensors")
    (result,) = run_job(make_job(directions="two.safetensors", grid="2x3", trajectory=True)).slices
    assert result.data.shape == (2, 3)
    path = result.data.trajectory
    assert path is not None
    np.testing.assert_allclose(path["coordinates"], [[-1.0, 0.0], [0.0, 0.0]], atol=1e-6)


def test_the_job_is_of_what_the_file_holds(make_job: MakeJob) -> None:
    def job_hash(**values) -> str:
        prepared = prepare(make_job(**values), Reporter())
        return prepared.job_hash(prepared.sources[0])

    before = job_hash()
    shutil.copy("own.safetensors", "copy.safetensors")
    assert job_hash(directions="copy.safetensors") == before
    save_file({name: 2 * tensor for name, tensor in load_file("own.safetensors").items()}, "own.safetensors")
    assert job_hash() != before


WEIGHT = torch.ones(64, 64)


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        (
            {"direction_0/0.wieght": WEIGHT},
            r"names '0\.wieght', which is no parameter of the model \(nearest: 0\.weight",
        ),
        ({"direction_0/0.weight": WEIGHT[:3]}, r"has 0\.weight of shape \[3, 64\], the model's is \[64, 64\]"),
        ({"direction_0/0.weight": 0 * WEIGHT}, "direction_0 is zero everywhere"),
        ({"direction_0/0.weight": WEIGHT / 0}, "direction_0 has entries that are not finite"),
        ({"direction_0/0.weight": WEIGHT.int()}, "expected floating numbers"),
        ({"0.weight": WEIGHT}, r"needs tensors direction_0/NAME and, .*; it has 0\.weight"),
        ({"direction_1/0.weight": WEIGHT}, "there is no direction_0"),
    ],
    ids=["name", "shape", "zero", "infinite", "integers", "prefix", "second alone"],
)
def test_a_file_that_does_not_fit_is_told_and_nothing_written(make_job: MakeJob, tensors, told) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, "own.safetensors")
    with pytest.raises(UsageError, match=told):
        run_job(make_job())
    assert not Path("runs").exists()


def test_no_file_or_another_kind_of_file_is_told(make_job: MakeJob) -> None:
    with pytest.raises(UsageError, match="--method custom needs --directions FILE"):
        run_job(make_job(directions=""))
    with pytest.raises(UsageError, match=r"nowhere\.safetensors is not a file"):
        run_job(make_job(directions="nowhere.safetensors"))
    with pytest.raises(UsageError, match=r"--directions subject\.py claims a safetensors header"):
        run_job(make_job(directions="subject.py"))
