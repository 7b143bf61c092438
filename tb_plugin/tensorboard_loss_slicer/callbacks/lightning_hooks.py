"""What a Lightning trainer's hooks do, for the callbacks of `lightning` and of `pytorch_lightning`.

Only their base classes differ. Nothing of either is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from torch import nn

from slicer_core.slices import Slice
from slicer_core.subject import ModelWrapper, from_lightning
from tensorboard_loss_slicer.callbacks.recorder import LandscapeRecorder
from tensorboard_loss_slicer.callbacks.schedule import Schedule
from tensorboard_loss_slicer.callbacks.settings import LandscapeSettings, Settings
from tensorboard_loss_slicer.summary_v2 import log_slice


class LightningHooks:
    """Takes a slice at the end of epochs 0, n, 2n… or of every n-th optimizer step, by the first process alone.

    The loss is the one that `step` returns, or `loss_fn(module(inputs…), target)`; the data are the trainer's loaders,
    read in order and whole. Slices go to the trainer's TensorBoard logger, else to its log directory, under the global
    step. The module, its gradients, the optimizer and all random states are afterwards as before.

    Args:
        log_every_n_epochs, log_every_n_steps: one of them; every 10 epochs if none is given.
        train_data, test_data: in place of the trainer's training and validation loaders; see `ModelWrapper`.
        step, loss_fn: see `from_lightning`.
        settings: see `Settings`.

    Raises:
        UsageError: a setting can't be used.
    """

    def __init__(
        self,
        log_every_n_epochs: int | None = None,
        *,
        log_every_n_steps: int | None = None,
        train_data: Any = None,
        test_data: Any = None,
        step: str = "training_step",
        loss_fn: Callable[..., Any] | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__()
        self.recorder = LandscapeRecorder(
            Schedule(epochs=log_every_n_epochs, steps=log_every_n_steps), LandscapeSettings(**settings)
        )
        self._data = (train_data, test_data)
        self._step = step
        self._loss_fn = loss_fn

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Lightning's hook."""
        self.recorder.begin(trainer.global_step)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Lightning's hook."""
        if trainer.is_global_zero:
            self.recorder.step_ended(trainer.global_step, *self._wrapping_and_logging(trainer, pl_module))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Lightning's hook."""
        if trainer.is_global_zero:
            self.recorder.epoch_ended(
                trainer.current_epoch, trainer.global_step, *self._wrapping_and_logging(trainer, pl_module)
            )

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Lightning's hook."""
        self.recorder.end()

    def _wrapping_and_logging(
        self, trainer: Any, pl_module: nn.Module
    ) -> tuple[Callable[[], ModelWrapper], Callable[[str, Slice, int], None]]:
        def wrap() -> ModelWrapper:
            train, test = self._data
            if train is None and test is None:
                train, test = trainer.train_dataloader, _first(trainer.val_dataloaders)
            return from_lightning(pl_module, train_data=train, test_data=test, step=self._step, loss_fn=self._loss_fn)

        def log(tag: str, data: Slice, step: int) -> None:
            writer, logdir = None, self.recorder.settings.logdir
            if logdir is None:
                writer = _tensorboard_writer(trainer)
                logdir = None if writer is not None else trainer.log_dir or trainer.default_root_dir
            log_slice(tag, data, step=step, writer=writer, logdir=logdir)

        return wrap, log


def _first(loaders: Any) -> Any:
    """The first of the validation loaders, None where there is none."""
    if isinstance(loaders, (list, tuple)):
        return loaders[0] if loaders else None
    return loaders


def _tensorboard_writer(trainer: Any) -> Any:
    """The SummaryWriter of the trainer's TensorBoard logger, None where it has none."""
    for logger in trainer.loggers:
        if type(logger).__name__ == "TensorBoardLogger" and hasattr(logger.experiment, "_get_file_writer"):
            return logger.experiment
    return None
