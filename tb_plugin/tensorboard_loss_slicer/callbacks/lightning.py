"""The callback for trainers of `lightning`."""

from __future__ import annotations

from tensorboard_loss_slicer.callbacks.extras import library

with library("lightning", extra="lightning"):
    from lightning.pytorch.callbacks import Callback

from tensorboard_loss_slicer.callbacks.lightning_hooks import LightningHooks

__all__ = ["LossLandscapeCallback"]


class LossLandscapeCallback(LightningHooks, Callback):
    """Logs slices of the loss around the weights, for `lightning.Trainer`; see `LightningHooks`."""
