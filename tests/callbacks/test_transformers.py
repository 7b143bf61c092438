"""The Trainer of `transformers`: a training with slices is, bit for bit, the training without."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from slicer_core.slices import Slice
from tensorboard_loss_slicer import LossSlicerWarning

ReadLog = Callable[[Path], dict[str, dict[int, Slice]]]
SMALL: dict[str, Any] = {"grid": "3", "max_overhead": None}
LENGTHS = (9, 14, 6, 11, 5, 8, 12, 10)


def sequences() -> list[dict[str, Any]]:
    numbers = np.random.RandomState(0)
    return [{"input_ids": numbers.randint(2, 20, length).tolist()} for length in LENGTHS]


def texts() -> list[dict[str, Any]]:
    return [entry | {"labels": int(sum(entry["input_ids"]) % 3)} for entry in sequences()]


def build(kind: str) -> Any:
    from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

    # With its dropout of 0.1.
    config = GPT2Config(
        vocab_size=20, n_positions=16, n_embd=8, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1, pad_token_id=1
    )
    config.num_labels = 3
    return GPT2LMHeadModel(config) if kind == "language" else GPT2ForSequenceClassification(config)


def collate(samples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Padded on the right, as the library's collators do."""
    length = max(len(sample["input_ids"]) for sample in samples)
    ids = torch.tensor([sample["input_ids"] + [1] * (length - len(sample["input_ids"])) for sample in samples])
    mask = torch.tensor([[1] * len(s["input_ids"]) + [0] * (length - len(s["input_ids"])) for s in samples])
    labels = ids.masked_fill(mask == 0, -100)
    if "labels" in samples[0]:
        labels = torch.tensor([sample["labels"] for sample in samples])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def train(kind: str, folder: Path, *callbacks: Any, **options: Any) -> Any:
    """A Trainer after two epochs of four batches, and all losses that it logged."""
    from transformers import Trainer, TrainingArguments, set_seed

    set_seed(5)
    arguments = TrainingArguments(
        output_dir=str(folder),
        **{
            "num_train_epochs": 2,
            "per_device_train_batch_size": 2,
            "learning_rate": 0.05,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": ["tensorboard"],
            "disable_tqdm": True,
            "use_cpu": True,
            "seed": 5,
        }
        | options,
    )
    trainer = Trainer(
        build(kind),
        arguments,
        train_dataset=sequences() if kind == "language" else texts(),
        data_collator=collate,
        callbacks=list(callbacks),
    )
    trainer.train()
    return trainer


def photograph(trainer: Any) -> dict[str, Any]:
    return {
        "weights": {name: tensor.numpy().tobytes() for name, tensor in trainer.model.state_dict().items()},
        "modes": [part.training for part in trainer.model.modules()],
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "gradients": [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry],
        "autocast": torch.is_autocast_enabled("cpu"),
        "random": (random.random(), np.random.random(), torch.rand(1).item()),
        "optimizer": [
            [value.numpy().tobytes() if isinstance(value, Tensor) else value for value in entry.values()]
            for entry in trainer.optimizer.state.values()
        ],
        "config": trainer.model.config.to_dict(),
    }


@pytest.mark.parametrize(
    "kind, every, options",
    [
        ("language", {"log_every_n_epochs": 1}, {}),
        ("language", {"log_every_n_steps": 3}, {"gradient_accumulation_steps": 2, "bf16": True}),
        ("classes", {"log_every_n_steps": 3}, {}),
    ],
)
def test_training_is_bit_for_bit_as_without(
    kind: str, every: Any, options: Any, tmp_path: Path, read_log: ReadLog
) -> None:
    from tensorboard_loss_slicer.callbacks.transformers import LossLandscapeCallback

    without = photograph(train(kind, tmp_path / "without", **options))
    callback = LossLandscapeCallback(**every, method="random1d", **SMALL)
    found = photograph(train(kind, tmp_path / "with", callback, **options))
    for part, value in without.items():
        assert found[part] == value, part
    slices = read_log(tmp_path / "with")["random1d"]
    assert len(slices) == callback.recorder.taken >= 1
    for data in slices.values():
        assert data.loss[1] == pytest.approx(data.center.loss["train"], rel=1e-6)
        assert data.loss[0] != data.loss[1]


@pytest.mark.parametrize("kind", ["language", "classes"])
def test_slices_are_in_the_trainers_log_with_the_models_own_loss_at_the_center(
    kind: str, tmp_path: Path, read_log: ReadLog
) -> None:
    from transformers import TrainerCallback

    from tensorboard_loss_slicer.callbacks.transformers import LossLandscapeCallback

    seen: dict[int, float] = {}

    class Watch(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            model = kwargs["model"]
            model.eval()
            with torch.no_grad():
                seen[state.global_step] = model(**collate(sequences() if kind == "language" else texts())).loss.item()
            model.train()

    train(kind, tmp_path, Watch(), LossLandscapeCallback(log_every_n_epochs=1, samples=None, **SMALL))
    slices = read_log(tmp_path)["random2d"]
    assert sorted(slices) == sorted(seen) == [4, 8]
    for step, data in slices.items():
        assert data.evaluation["samples"] == {"train": len(LENGTHS)}
        assert data.loss[1, 1] == pytest.approx(seen[step], rel=1e-5)
    directories = {path.parent for path in tmp_path.rglob("*tfevents*")}
    assert len(directories) == 1


@pytest.mark.parametrize("stop, steps", [(5, [4]), (10, [4, 10])])
def test_a_training_that_stops_within_an_epoch_ends_that_epoch(
    stop: int, steps: list[int], tmp_path: Path, read_log: ReadLog
) -> None:
    """Of four steps each: the end of epoch 0, or of epoch 2, and never epoch 0 a second time."""
    from tensorboard_loss_slicer.callbacks.transformers import LossLandscapeCallback

    callback = LossLandscapeCallback(log_every_n_epochs=2, method="random1d", logdir=tmp_path / "given", **SMALL)
    train("classes", tmp_path / "run", callback, report_to=[], max_steps=stop)
    assert list(read_log(tmp_path / "given")["random1d"]) == steps


def test_without_tensorboard_slices_have_a_folder_of_their_own(tmp_path: Path, read_log: ReadLog) -> None:
    from tensorboard_loss_slicer.callbacks.transformers import LossLandscapeCallback

    callback = LossLandscapeCallback(log_every_n_steps=4, method="random1d", logdir=tmp_path / "given", **SMALL)
    train("classes", tmp_path / "run", callback, report_to=[])
    assert list(read_log(tmp_path / "given")["random1d"]) == [4, 8]
    assert not list((tmp_path / "run").rglob("*tfevents*"))


def test_data_that_changes_from_reading_to_reading_is_told_and_training_goes_on(tmp_path: Path) -> None:
    from tensorboard_loss_slicer.callbacks.transformers import LossLandscapeCallback

    class Masked(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(LENGTHS)

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"input_ids": torch.randint(2, 20, (LENGTHS[index],)).tolist(), "labels": 1}

    callback = LossLandscapeCallback(
        log_every_n_steps=3,
        train_data=torch.utils.data.DataLoader(Masked(), batch_size=2, shuffle=True, collate_fn=collate),
        **SMALL,
    )
    with pytest.warns(LossSlicerWarning, match="no slice could be taken at step 3"):
        trainer = train("classes", tmp_path, callback, report_to=[])
    assert trainer.state.global_step == 8
    assert callback.recorder.taken == 0
