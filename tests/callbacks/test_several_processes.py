"""A training on two processes: the first takes the slices, of all the data, and both train as without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slicer_core.slices import Slice

SCRIPT = """
import hashlib
import sys

import lightning
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tensorboard_loss_slicer.callbacks.lightning import LossLandscapeCallback


class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss, sync_dist=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.02)


lightning.seed_everything(3, verbose=False)
generator = torch.Generator().manual_seed(0)
data = TensorDataset(torch.randn(30, 6, generator=generator), torch.randint(3, (30,), generator=generator))
callback = LossLandscapeCallback(log_every_n_epochs=1, method="random1d", grid="5", samples=None, max_overhead=None)
trainer = lightning.Trainer(
    max_epochs=2,
    accelerator="cpu",
    devices=2,
    strategy="ddp",
    callbacks=[callback] if sys.argv[1] == "with" else [],
    logger=lightning.pytorch.loggers.TensorBoardLogger(sys.argv[1], name="log"),
    enable_progress_bar=False,
    enable_model_summary=False,
    enable_checkpointing=False,
)
module = Net()
trainer.fit(module, DataLoader(data, batch_size=4, shuffle=True))
digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())).hexdigest()
with open(f"{sys.argv[1]}-{trainer.global_rank}.txt", "w") as file:
    file.write(f"{digest} {callback.recorder.taken}")
"""


@pytest.mark.long
def test_the_first_of_two_processes_takes_the_slices_and_both_train_as_without(
    tmp_path: Path, read_log: Callable[[Path], dict[str, dict[int, Slice]]]
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    for name in ("without", "with"):
        done = subprocess.run(
            [sys.executable, "script.py", name],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    ends = {path.stem: path.read_text().split() for path in tmp_path.glob("with*.txt")}
    assert len({digest for digest, _ in ends.values()}) == 1
    assert {name: taken for name, (_, taken) in ends.items()} == {
        "with-0": "2",
        "with-1": "0",
        "without-0": "0",
        "without-1": "0",
    }
    slices = read_log(tmp_path / "with")["random1d"]
    assert {step: data.evaluation["samples"] for step, data in slices.items()} == {4: {"train": 30}, 8: {"train": 30}}
