"""Both Lightning packages: a training with slices is, bit for bit, the training without."""

from __future__ import annotations

import importlib
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from slicer_core.slices import Slice
from tensorboard_loss_slicer import LossSlicerWarning

ReadLog = Callable[[Path], dict[str, dict[int, Slice]]]
SMALL: dict[str, Any] = {"grid": "3", "samples": 24, "max_overhead": None}


@pytest.fixture(params=["lightning", "pytorch_lightning"])
def library(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The package, its callback, and a module that draws from every generator at each step."""
    name = request.param
    base = importlib.import_module("lightning.pytorch" if name == "lightning" else name)
    callback = importlib.import_module(f"tensorboard_loss_slicer.callbacks.{name}").LossLandscapeCallback

    class Net(base.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
            self.loss_fn = nn.CrossEntropyLoss()
            self.losses: list[float] = []
            self.states: list[bool] = []

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            x, y = batch
            if self.training:
                x = x + 0.01 * random.random() + 0.01 * np.random.random()
            loss = F.cross_entropy(self.net(x), y)
            self.log("loss", loss)
            if self.training:
                self.losses.append(loss.item())
                self.states.append(torch.is_autocast_enabled("cpu"))
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.02)

    return SimpleNamespace(base=base, callback=callback, Net=Net, name=name)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning|pytorch_lightning|torch")
        yield


def fit(library: SimpleNamespace, folder: Path, *callbacks: Any, logger: Any = None, **options: Any) -> Any:
    """A module trained for three epochs of four batches."""
    library.base.seed_everything(11, verbose=False)
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(30, 6, generator=generator), torch.randint(3, (30,), generator=generator))
    module = library.Net()
    trainer = library.base.Trainer(
        max_epochs=3,
        accelerator="cpu",
        devices=1,
        default_root_dir=str(folder),
        logger=logger if logger is not None else library.base.loggers.TensorBoardLogger(str(folder), name="log"),
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
        **options,
    )
    trainer.fit(module, DataLoader(data, batch_size=8, shuffle=True))
    return module


def photograph(module: Any) -> dict[str, Any]:
    return {
        "weights": {name: tensor.numpy().tobytes() for name, tensor in module.state_dict().items()},
        "gradients": {
            name: None if entry.grad is None else entry.grad.numpy().tobytes()
            for name, entry in module.named_parameters()
        },
        "modes": [part.training for part in module.modules()],
        "losses": module.losses,
        "autocast": module.states,
        "random": (random.random(), np.random.random(), torch.rand(1).item()),
        "optimizer": [
            [value.numpy().tobytes() if isinstance(value, Tensor) else value for value in entry.values()]
            for entry in module.optimizers().optimizer.state.values()
        ],
    }


MIXED = {"precision": "bf16-mixed", "accumulate_grad_batches": 2}


@pytest.mark.parametrize(
    "every, method, options, training",
    [
        ({"log_every_n_epochs": 2}, "random2d", {}, {}),
        ({"log_every_n_steps": 3}, "random1d", {}, MIXED),
        ({"log_every_n_steps": 5}, "hessian1d", {}, MIXED),
        ({"log_every_n_steps": 5}, "axis", {"params_to_slice": "largest:2"}, {}),
        ({"log_every_n_steps": 6}, "linear", {"to": "random"}, {}),
    ],
    ids=["random2d", "random1d", "hessian1d", "axis", "linear"],
)
def test_training_is_bit_for_bit_as_without(
    library: SimpleNamespace, every: Any, method: str, options: Any, training: Any, tmp_path: Path, read_log: ReadLog
) -> None:
    without = photograph(fit(library, tmp_path / "without", **training))
    small = SMALL | ({"grid": "5"} if method == "linear" else {})
    callback = library.callback(**every, method=method, options=options, **small)
    found = photograph(fit(library, tmp_path / "with", callback, **training))
    for part, value in without.items():
        assert found[part] == value, part
    steps = read_log(tmp_path / "with")[method]
    assert len(steps) == callback.recorder.taken >= 1


def test_slices_are_in_the_trainers_log_under_its_steps_with_the_users_loss_at_the_center(
    library: SimpleNamespace, tmp_path: Path, read_log: ReadLog
) -> None:
    seen: dict[int, float] = {}

    class Watch(library.base.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            x, y = trainer.train_dataloader.dataset.tensors
            pl_module.eval()
            with torch.no_grad():
                seen[trainer.global_step] = F.cross_entropy(pl_module.net(x), y).item()
            pl_module.train()

    callback = library.callback(log_every_n_epochs=1, grid="3", samples=None, max_overhead=None, tag="near")
    fit(library, tmp_path, Watch(), callback)
    (directory,) = {path.parent for path in tmp_path.rglob("*tfevents*")}
    assert directory == tmp_path / "log" / "version_0"
    slices = read_log(tmp_path)["near"]
    assert sorted(slices) == sorted(seen) == [4, 8, 12]
    for step, data in slices.items():
        assert data.slice_type == "random_direction_2d"
        assert data.loss.shape == (3, 3)
        assert data.evaluation["samples"] == {"train": 30}
        assert data.loss[1, 1] == pytest.approx(seen[step], rel=2e-6)


def test_without_a_tensorboard_logger_slices_go_to_the_folder_given_or_the_trainers_own(
    library: SimpleNamespace, tmp_path: Path, read_log: ReadLog
) -> None:
    for name, options in (("given", {"logdir": tmp_path / "given"}), ("own", {})):
        callback = library.callback(log_every_n_steps=12, method="random1d", **options, **SMALL)
        fit(library, tmp_path / "own", callback, logger=False)
        assert list(read_log(tmp_path / name)["random1d"]) == [12]


@pytest.mark.parametrize("fault", [{"loss_fn": lambda output, target: output.nothing}, {"logdir": Path(__file__)}])
def test_a_slice_that_fails_is_told_once_and_does_not_stop_training(
    library: SimpleNamespace, fault: Any, tmp_path: Path
) -> None:
    without = photograph(fit(library, tmp_path / "without"))
    callback = library.callback(log_every_n_epochs=1, **fault, **SMALL)
    with pytest.warns(LossSlicerWarning, match="no slice could be taken at step 4, and none will be tried") as caught:
        found = photograph(fit(library, tmp_path / "with", callback))
    assert len([each for each in caught if issubclass(each.category, LossSlicerWarning)]) == 1
    assert found == without
    assert callback.recorder.taken == 0


def test_slices_beyond_the_time_budget_are_left_out_which_is_told_once(
    library: SimpleNamespace, tmp_path: Path, read_log: ReadLog
) -> None:
    without = photograph(fit(library, tmp_path / "without"))
    # No slice is this fast; the first may be more than half done when that is known.
    callback = library.callback(log_every_n_epochs=1, grid="30", max_overhead=1e-9)
    with pytest.warns(LossSlicerWarning, match=r"a slice takes about .*more than max_overhead=1e-09") as caught:
        found = photograph(fit(library, tmp_path / "with", callback))
    assert len([each for each in caught if issubclass(each.category, LossSlicerWarning)]) == 1
    assert found == without
    assert callback.recorder.taken <= 1
    assert callback.recorder.taken + callback.recorder.left_out == 3
    logged = read_log(tmp_path / "with").get("random2d", {})
    assert list(logged) == [4][: callback.recorder.taken]


BLOCK = """
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

class LossLandscapeCallback(Callback):
    def __init__(self, log_every_n_epochs=10):
        self.log_every_n_epochs = log_every_n_epochs
        
    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch % self.log_every_n_epochs == 0:
            # Create wrapper and generate slices
            wrapper = ModelWrapper(pl_module, pl_module.loss_fn, ...)
            # ... slice generation and logging
"""  # noqa: W293 (as it is written there)


@pytest.mark.parametrize("library", ["pytorch_lightning"], indirect=True)
def test_a_callback_that_users_write_themselves_works(
    library: SimpleNamespace, tmp_path: Path, read_log: ReadLog
) -> None:
    """The description's own, with what it leaves to its reader."""
    source = BLOCK.replace("loss_fn, ...)", "loss_fn, trainer.train_dataloader.dataset)").replace(
        "# ... slice generation and logging",
        "log_slice('own', RandomDirectionSlicer(wrapper).slice_2d(grid_size=3), step=trainer.current_epoch)",
    )
    names: dict[str, Any] = {}
    exec(
        "from pysclice.core import ModelWrapper\nfrom pysclice.slicers import RandomDirectionSlicer\n"
        "from tensorboard_loss_slicer.summary_v2 import log_slice\n" + source,
        names,
    )
    library.Net.forward = lambda self, x: self.net(x)
    fit(library, tmp_path, names["LossLandscapeCallback"](log_every_n_epochs=2))
    assert list(read_log(tmp_path)["own"]) == [0, 2]
