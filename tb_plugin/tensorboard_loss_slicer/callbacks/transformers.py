"""The callback for the Trainer of Hugging Face `transformers`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, Unpack

from torch import nn

from slicer_core.errors import UsageError
from slicer_core.slices import Slice
from slicer_core.subject import ModelWrapper, from_transformers
from tensorboard_loss_slicer import writers
from tensorboard_loss_slicer.callbacks.extras import library
from tensorboard_loss_slicer.callbacks.recorder import LandscapeRecorder
from tensorboard_loss_slicer.callbacks.schedule import Schedule
from tensorboard_loss_slicer.callbacks.settings import LandscapeSettings, Settings
from tensorboard_loss_slicer.summary_v2 import log_slice

with library("transformers", extra="transformers"):
    from transformers.trainer_callback import TrainerCallback, TrainerControl, TrainerState
    from transformers.training_args import TrainingArguments

__all__ = ["LossLandscapeCallback"]

# Of an epoch, far less than a step of it.
_ROUNDING = 1e-9


class LossLandscapeCallback(TrainerCallback):
    """Takes a slice at the end of epochs 0, n, 2n… or of every n-th step, by the first process alone.

    The loss is the library's own for causal language models and for text classification, else what the model returns,
    or `batch_loss(model, batch)`; the data are the Trainer's training data, read in order and whole. Slices go to the
    Trainer's TensorBoard log, or to `output_dir/runs/loss_slicer` where there is none, under the global step. The
    model, its gradients, the optimizer and all random states are afterwards as before.

    Args:
        log_every_n_epochs, log_every_n_steps: one of them; every 10 epochs if none is given.
        train_data, test_data: in place of the Trainer's training data; see `ModelWrapper`. A batch is a dictionary of
            the model's inputs.
        batch_loss: see `ModelWrapper`.
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
        batch_loss: Callable[[nn.Module, Any], Any] | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        self.recorder = LandscapeRecorder(
            Schedule(epochs=log_every_n_epochs, steps=log_every_n_steps), LandscapeSettings(**settings)
        )
        self._data = (train_data, test_data)
        self._batch_loss = batch_loss

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The Trainer's event."""
        self.recorder.begin(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The Trainer's event."""
        if state.is_world_process_zero:
            self.recorder.step_ended(state.global_step, *self._wrapping_and_logging(args, kwargs))

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The Trainer's event."""
        if state.is_world_process_zero:
            # The Trainer counts in rounded fractions, and an epoch that it stops within ends too.
            epoch = max(0, math.ceil((state.epoch or 0.0) - _ROUNDING) - 1)
            self.recorder.epoch_ended(epoch, state.global_step, *self._wrapping_and_logging(args, kwargs))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The Trainer's event."""
        self.recorder.end()

    def _wrapping_and_logging(
        self, args: TrainingArguments, kwargs: dict[str, Any]
    ) -> tuple[Callable[[], ModelWrapper], Callable[[str, Slice, int], None]]:
        def wrap() -> ModelWrapper:
            train, test = self._data
            if train is None and test is None:
                train = kwargs["train_dataloader"]
            return from_transformers(kwargs["model"], train_data=train, test_data=test, batch_loss=self._batch_loss)

        def log(tag: str, data: Slice, step: int) -> None:
            writer, logdir = None, self.recorder.settings.logdir
            if logdir is None:
                try:
                    # The Trainer's own TensorBoard callback keeps its writer to itself.
                    writer = writers.find_writer()
                except UsageError:
                    logdir = os.path.join(args.output_dir or ".", "runs", "loss_slicer")
            log_slice(tag, data, step=step, writer=writer, logdir=logdir)

        return wrap, log
