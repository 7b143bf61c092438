"""`gradient`: slices along the direction that a training takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import EvaluationSettings, GradientSlicer, ModelWrapper
from slicer_core.checkpoints import AdamMoments
from slicer_core.errors import CheckpointError, UsageError
from slicer_core.job import Job, run_job
from slicer_core.methods.gradient import Gradient, adam_step

MakeJob = Callable[..., Job]
MODULE = """
import torch
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
loss_fn = nn.CrossEntropyLoss()
train_data = (torch.randn(10, 3), torch.randint(0, 2, (10,)))
"""


def test_a_quadratic_along_its_gradient() -> None:
    """L = ½·Σ aθ²: L(θ - αaθ) = ½·Σ a(1 - αa)²θ²."""
    scales = torch.tensor([1.0, 2.0, 5.0])
    model = nn.Module()
    model.register_parameter("theta", nn.Parameter(torch.tensor([1.0, -2.0, 0.5])))

    def batch_loss(model: nn.Module, batch: Tensor) -> Tensor:
        return 0.5 * (scales * model.get_parameter("theta") ** 2).sum() + 0 * batch.sum(dim=1)

    wrapper = ModelWrapper(model, train_data=[torch.zeros(3, 1), torch.zeros(2, 1)], batch_loss=batch_loss)
    found = GradientSlicer(wrapper, settings=EvaluationSettings(dtype=torch.float64), progress=False).slice(
        n_samples=7, range=(-0.5, 1.0)
    )
    theta, a = np.array([1.0, -2.0, 0.5]), scales.numpy().astype(float)
    expected = [0.5 * (a * ((1 - alpha * a) * theta) ** 2).sum() for alpha in found.axes[0].values]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-6)
    (direction,) = found.directions
    assert direction.norm == pytest.approx(np.linalg.norm(a * theta))
    assert direction.recipe["gradient_norm"] == pytest.approx(direction.norm)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_the_slope_at_the_center_is_minus_the_squared_norm_whatever_the_batches(network, batch_size) -> None:
    net = network("mlp")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    settings = EvaluationSettings(dtype=torch.float64, batch_size=batch_size)
    step = 1e-4
    found = GradientSlicer(wrapper, settings=settings, progress=False).slice(n_samples=3, range=(-step, step))
    net.model.zero_grad()
    F.cross_entropy(net.model.eval()(net.inputs), net.classes).backward()
    square = sum(p.grad.square().sum().item() for p in net.model.parameters() if p.grad is not None)
    assert found.directions[0].norm ** 2 == pytest.approx(square, rel=1e-5)
    assert (found.loss[2] - found.loss[0]) / (2 * step) == pytest.approx(-square, rel=1e-5)


def test_adams_step_is_what_torchs_adam_does_next_with_a_gradient_that_keeps_its_moments() -> None:
    """The saved moments are those of the last step, so it is the difference that torch made."""
    theta = nn.Parameter(torch.randn(5, dtype=torch.float64))
    optimizer = torch.optim.Adam([theta], lr=0.03, betas=(0.8, 0.95), eps=1e-6)
    for _ in range(4):
        before = theta.detach().clone()
        optimizer.zero_grad()
        (theta**4).sum().backward()
        optimizer.step()
    state = optimizer.state[theta]
    stored = {"exp_avg": state["exp_avg"], "exp_avg_sq": state["exp_avg_sq"]}
    moments = AdamMoments(**stored, step=4, betas=(0.8, 0.95), eps=1e-6, matched_by="order")
    torch.testing.assert_close(0.03 * adam_step(moments), theta.detach() - before)
    unused = replace(moments, step=0)
    with pytest.raises(CheckpointError, match="has not made a step"):
        adam_step(unused)


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeJob:
    """The current directory: `subject.py`, and a training with Adam whose file has its state after each of 3 steps."""
    monkeypatch.chdir(tmp_path)
    Path("subject.py").write_text(MODULE)
    scope: dict = {}
    exec(MODULE, scope)
    model, (inputs, classes) = scope["model"], scope["train_data"]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    Path("ck").mkdir()
    for step in range(4):
        saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        if step:
            torch.save(saved, f"ck/step-{step}.pt")
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), classes).backward()
        optimizer.step()

    def make(**values) -> Job:
        return Job.from_values({"checkpoints": "ck", "method": "gradient", "grid": "3"} | values)

    return make


def losses(result) -> dict[int, np.ndarray]:
    return {found.step: found.data.loss for found in result.slices}


def test_the_last_update_starts_at_the_checkpoint_before(training: MakeJob) -> None:
    found = losses(run_job(training(along="update")))
    # The first checkpoint has none before it.
    assert sorted(found) == [2, 3]
    assert found[3][0] == pytest.approx(found[2][1], rel=1e-5)
    refused = training(along="update", checkpoints="ck/step-1.pt")
    with pytest.raises(UsageError, match="--along update needs a checkpoint before this one"):
        run_job(refused)


def test_adams_saved_step_leads_back_to_the_checkpoint_before(training: MakeJob) -> None:
    """At minus the learning rate, since no other update lies between these checkpoints."""
    result = run_job(training(along="adam", range="-0.05:0.05"))
    by_adam = losses(result)
    assert result.slices[0].data.directions[0].recipe["matched_by"] == "order"
    assert by_adam[3][0] == pytest.approx(by_adam[2][1], rel=1e-5)
    assert by_adam[2][0] == pytest.approx(by_adam[1][1], rel=1e-5)


def test_a_word_that_is_none_and_a_gradient_of_zero_are_refused() -> None:
    with pytest.raises(UsageError, match="--along 'up' is not one of gradient, update, adam"):
        Gradient(along="up")
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    wrapper = ModelWrapper(model, nn.MSELoss(), (torch.randn(4, 2), torch.zeros(4, 1)))
    with pytest.raises(UsageError, match="the direction --along gradient is zero"):
        GradientSlicer(wrapper, progress=False).slice()
