"""The callback for trainers of `pytorch_lightning`."""

from __future__ import annotations

from tensorboard_loss_slicer.callbacks.extras import library

with library("pytorch_lightning", extra="pytorch-lightning"):
    from pytorch_lightning.callbacks import Callback

from tensorboard_loss_slicer.callbacks.lightning_hooks import LightningHooks

__all__ = ["LossLandscapeCallback"]


class LossLandscapeCallback(LightningHooks, Callback):
    """Logs slices of the loss around the weights, for `pytorch_lightning.Trainer`; see `LightningHooks`."""
