"""Checkpoints that each library writes itself: `inspect` knows them, and the center is the loss under that library."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slicer_core.errors import CheckpointError

Sliced = Callable[..., list[Any]]
Inspected = Callable[..., list[dict[str, Any]]]

SUBJECT = """
import torch
from torch import nn

from slicer_core import ModelWrapper


def net():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2))


generator = torch.Generator().manual_seed(5)
inputs = torch.randn(20, 4, generator=generator)
target = (inputs.sum(dim=1) > 0).long()


def build():
    return ModelWrapper(net(), nn.CrossEntropyLoss(), (inputs, target))
"""


def names_of(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "subject"}
    exec(compile(source, "subject.py", "exec"), names)
    return names


@pytest.fixture(scope="module")
def trained() -> Callable[[int], tuple[nn.Module, torch.optim.Optimizer]]:
    """The net of `SUBJECT` and its optimizer after some steps of training."""
    names = names_of(SUBJECT)

    def after(steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(4)
        net = names["net"]()
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.05)
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(names["inputs"]), names["target"]).backward()
            optimizer.step()
        return net, optimizer

    return after


def loss_of(net: nn.Module) -> float:
    names = names_of(SUBJECT)
    with torch.no_grad():
        return nn.functional.cross_entropy(net.eval()(names["inputs"]), names["target"]).item()


def averaged(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor * 0.9 if tensor.is_floating_point() else tensor for name, tensor in net.state_dict().items()}


def write_timm(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Path:
    """As `timm.utils.CheckpointSaver` does: the epoch is in the file and, with another number of it, in no name."""
    path = folder / f"checkpoint-{step}.pth.tar"
    torch.save(
        {
            "epoch": step,
            "arch": "resnet18",
            "state_dict": net.state_dict(),
            "state_dict_ema": averaged(net),
            "optimizer": optimizer.state_dict(),
            "version": 2,
            "args": argparse.Namespace(lr=0.1, model="resnet18"),
            "metric": 71.2,
        },
        path,
    )
    return path


def write_torchvision(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Path:
    """As the reference scripts of torchvision do, whose averaged model is an `AveragedModel` of the model."""
    path = folder / f"model_{step}.pth"
    average = torch.optim.swa_utils.AveragedModel(net)
    torch.save(
        {
            "model": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "lr_scheduler": {"last_epoch": step},
            "epoch": step,
            "args": argparse.Namespace(lr=0.1),
            "model_ema": average.state_dict(),
        },
        path,
    )
    return path


def write_nanogpt(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Path:
    """As nanoGPT's train.py does, of a compiled model."""
    path = folder / "ckpt.pt"
    compiled: Any = torch.compile(net)
    torch.save(
        {
            "model": compiled.state_dict(),
            "optimizer": optimizer.state_dict(),
            "model_args": {"n_layer": 2, "bias": False},
            "iter_num": step,
            "best_val_loss": torch.tensor(1.5),
            "config": {"dataset": "shakespeare", "learning_rate": 1e-3},
        },
        path,
    )
    return path


def write_accelerate(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Path:
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration

    config = ProjectConfiguration(project_dir=str(folder), automatic_checkpoint_naming=True, iteration=step)
    accelerator = Accelerator(cpu=True, project_config=config)
    prepared, prepared_optimizer = accelerator.prepare(net, optimizer)
    assert prepared_optimizer is not None
    assert prepared is not None
    accelerator.save_state()
    accelerator.free_memory()
    return folder / "checkpoints" / f"checkpoint_{step}"


def write_distributed(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Path:
    import torch.distributed.checkpoint as dcp

    path = folder / f"step-{step}"
    state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    dcp.save(state, checkpoint_id=str(path), no_dist=True)
    return path


def write_distributed_wrapped(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Path:
    import torch.distributed.checkpoint as dcp

    path = folder / f"step-{step}"
    dcp.save(nn.DataParallel(net).state_dict(), checkpoint_id=str(path), no_dist=True)
    return path


def write_tied_safetensors(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Path:
    from safetensors.torch import save_model

    path = folder / f"model-{step}.safetensors"
    save_model(net, str(path))
    return path


WRITERS: dict[str, tuple[Callable[..., Path], str, dict[str, Any]]] = {
    "timm": (write_timm, "epoch", {"weights": "state_dict"}),
    "torchvision": (write_torchvision, "epoch", {"weights": "model"}),
    "nanogpt": (write_nanogpt, "step", {}),
    "accelerate": (write_accelerate, "save", {}),
    "distributed": (write_distributed, "step", {}),
    "distributed, wrapped": (write_distributed_wrapped, "step", {}),
    "safetensors": (write_tied_safetensors, "step", {}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_center_is_the_loss_under_the_library(
    name: str,
    trained: Callable[[int], tuple[nn.Module, torch.optim.Optimizer]],
    sliced: Sliced,
    inspected: Inspected,
    write_module: Callable[[str], str],
    tmp_path: Path,
) -> None:
    write, unit, options = WRITERS[name]
    net, optimizer = trained(3)
    expected = loss_of(net)
    path = write(tmp_path, net, optimizer, 3)
    module = write_module(SUBJECT)
    if not options:
        (entry,) = inspected(path, "--module", module)
        assert (entry["step"], entry["step_unit"]) == (3, unit)
        assert entry["match"].startswith("fits")
    (finished,) = sliced(checkpoints=str(path), module=module, **options)
    assert finished.step == 3
    assert finished.data.checkpoint["step_unit"] == unit
    assert finished.data.center.loss["train"] == pytest.approx(expected, rel=1e-6)
    assert finished.data.loss.shape == (3, 3)
    assert finished.data.loss[1, 1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "weights", "scale"), [("timm", "state_dict_ema", 0.9), ("torchvision", "model_ema", 1)]
)
def test_averaged_weights_are_taken_where_they_are_asked_for(
    name: str,
    weights: str,
    scale: float,
    trained: Callable[[int], tuple[nn.Module, torch.optim.Optimizer]],
    sliced: Sliced,
    write_module: Callable[[str], str],
    tmp_path: Path,
) -> None:
    net, optimizer = trained(3)
    path = WRITERS[name][0](tmp_path, net, optimizer, 3)
    (finished,) = sliced(checkpoints=str(path), module=write_module(SUBJECT), weights=weights)
    if scale != 1:
        net.load_state_dict(averaged(net))
    assert finished.data.center.loss["train"] == pytest.approx(loss_of(net), rel=1e-6)


def test_a_checkpoint_of_another_extra_state_fails(
    sliced: Sliced, write_module: Callable[[str], str], tmp_path: Path
) -> None:
    saving = SUBJECT.replace(
        "def build",
        "class Net(nn.Sequential):\n    scale = 1.0\n    def get_extra_state(self):\n"
        "        return self.scale\n    def forward(self, x):\n        return self.scale * super().forward(x)\n\n\n"
        "def build",
    )
    saving = saving.replace("ModelWrapper(net()", "ModelWrapper(Net(net())")
    names = names_of(saving)
    net = names["Net"](names["net"]())
    torch.save(net.state_dict(), tmp_path / "step_1.pt")
    (finished,) = sliced(checkpoints=str(tmp_path / "step_1.pt"), module=write_module(saving))
    assert finished.data.center.loss["train"] == pytest.approx(loss_of(net), rel=1e-6)
    net.scale = 2.0
    torch.save(net.state_dict(), tmp_path / "step_2.pt")
    with pytest.raises(
        CheckpointError, match=r"step_2\.pt does not fit the model: _extra_state is 2\.0, the model's is 1"
    ):
        sliced(checkpoints=str(tmp_path / "step_2.pt"), module=write_module(saving))
