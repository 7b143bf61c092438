"""What a model's own loading sets beside tensors goes with the checkpoint at the center, whatever else is loaded."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from slicer_core.job import Job, run_job

MODULE = """
import torch
from torch import nn
from slicer_core import ModelWrapper

inputs, targets = torch.linspace(-1, 1, 48).reshape(8, 6), torch.arange(8) % 3


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.scale, self.more, self.seen = nn.Linear(6, 3), 1.0, {"shift": 0.0}, False
        self._register_load_state_dict_pre_hook(self.look)

    def look(self, state, *others):
        size = float(next(iter(state.values())).abs().mean())
        # The second time it does something else, as code that expects one loading may.
        self.scale, self.more["shift"], self.seen = (7.0 if self.seen else size), size, True

    def forward(self, inputs):
        return self.layer(inputs) * self.scale + torch.arange(3) * self.more["shift"]


def build():
    return ModelWrapper(Scaled(), nn.CrossEntropyLoss(), (inputs, targets))
"""


@pytest.fixture(scope="module")
def own_losses(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, float]]:
    """A folder with the module and three checkpoints, and the loss of each that a fresh model has."""
    folder = tmp_path_factory.mktemp("scaled")
    (folder / "subject.py").write_text(MODULE)
    (folder / "checkpoints").mkdir()
    spec: Any = importlib.util.spec_from_file_location("scaled_subject", folder / "subject.py")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    losses = {}
    for step in (1, 2, 3):
        torch.manual_seed(step)
        state = {name: torch.randn_like(tensor) * step for name, tensor in module.Scaled().state_dict().items()}
        torch.save(state, folder / "checkpoints" / f"step-{step}.pt")
        fresh = module.Scaled()
        fresh.load_state_dict(state)
        losses[step] = float(cross_entropy(fresh(module.inputs), module.targets))
    return folder, losses


@pytest.mark.parametrize(
    "options",
    [
        {"method": "random1d"},
        {"method": "random1d", "scale_from": "last"},
        {"method": "linear", "to": "last", "steps": "first"},
        {"method": "plane", "through": "first,middle,last"},
        {"method": "pca2d"},
        {"method": "gradient", "along": "update"},
    ],
    ids=lambda options: " ".join(options.values()),
)
def test_the_center_has_the_loss_that_a_fresh_model_has(
    own_losses: tuple[Path, dict[int, float]], tmp_path: Path, options: dict[str, Any]
) -> None:
    folder, losses = own_losses
    given = {"checkpoints": ["checkpoints"], "module": "subject.py", "logdir": str(tmp_path), "strategy": "loop"}
    with contextlib.chdir(folder):
        found = run_job(
            Job.from_values({**given, "grid": "3x3" if options["method"] in ("plane", "pca2d") else "5", **options})
        )
    assert found.slices
    assert not found.failures
    for each in found.slices:
        data = each.data
        assert data.center is not None
        assert data.center.loss["train"] == pytest.approx(losses[data.center.step or 0], rel=1e-5)
        if data.trajectory is not None:
            assert data.trajectory["losses"]["train"] == pytest.approx(list(losses.values()), rel=1e-5)
