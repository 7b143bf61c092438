"""The Python blocks of docs/training.md, as trainings run them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tensorboard_loss_slicer import read_events

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"


def blocks() -> dict[str, str]:
    """Heading -> the Python block below it."""
    found = re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    sections = {heading: re.findall(r"```python\n(.*?)```", text, re.DOTALL) for heading, text in found}
    assert all(len(sources) <= 1 for sources in sections.values())
    return {heading: sources[0] for heading, sources in sections.items() if sources}


def own_loop() -> dict[str, Any]:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    data = (torch.randn(20, 4), torch.randint(3, (20,)))
    return {
        "model": model,
        "loss_fn": nn.CrossEntropyLoss(),
        "data": data,
        "num_epochs": 2,
        "train": lambda model: None,
    }


def lightning_names() -> dict[str, Any]:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(4, 3)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data = TensorDataset(torch.randn(20, 4), torch.randint(3, (20,)))
    options = {"max_epochs": 1, "accelerator": "cpu", "enable_checkpointing": False, "enable_progress_bar": False}
    return {"module": Module(), "train_loader": DataLoader(data, batch_size=8, shuffle=True), "options": options}


def trainer_names() -> dict[str, Any]:
    from transformers import GPT2Config, GPT2LMHeadModel, TrainingArguments

    config = GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1)
    arguments = TrainingArguments("out", max_steps=2, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True)
    data = [{"input_ids": [2, 3, 4, 5], "labels": [2, 3, 4, 5]} for _ in range(6)]
    return {"model": GPT2LMHeadModel(config), "arguments": arguments, "data": data}


def wandb_names() -> dict[str, Any]:
    import wandb

    from slicer_core.slices import slice_from_plain

    wandb.init(mode="offline", dir=".", project="slices")
    landscape = slice_from_plain({"samples": [(0.0, 1.0), (0.5, 3.0), (1.0, 2.0)]})
    return {"landscape": landscape, "loss": 1.5, "epoch": 0}


NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    "In your own loop": own_loop,
    "Lightning": lightning_names,
    "Hugging Face Trainer": trainer_names,
    "Weights & Biases": wandb_names,
}


def test_each_block_is_run() -> None:
    assert sorted(NAMES) == sorted(blocks())


@pytest.mark.parametrize("heading", NAMES)
@pytest.mark.filterwarnings("ignore:::lightning", "ignore:::torch")
def test_a_block_does_what_the_page_says(heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    names = NAMES[heading]()
    # Two steps of training are no budget for a slice.
    source = blocks()[heading].replace("log_every_n_epochs=10", "log_every_n_epochs=10, max_overhead=None, grid='3'")
    source = source.replace("log_every_n_steps=500", "log_every_n_steps=2, max_overhead=None, grid='3'")
    source = source.replace("Trainer(callbacks", "Trainer(**options, callbacks")
    exec(compile(source, str(PAGE), "exec"), names)
    if heading == "Weights & Biases":
        names["wandb"].finish()
        assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/images/*.png"))) == 1
        return
    folders = {path.parent for path in tmp_path.rglob("*tfevents*")}
    events = [event for folder in folders for event in read_events(folder)]
    assert [event.data.slice_type for event in events] == ["random_direction_2d"]
