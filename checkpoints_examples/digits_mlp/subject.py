"""What to slice: a small classifier of handwritten digits, its loss, its data and a metric. Copy it for your own."""

from __future__ import annotations

import torch
from torch import nn

from slicer_core import ModelWrapper
from slicer_core.examples import load_digits


def make_model() -> nn.Module:
    """64 pixels -> 64 -> 32 -> 10 classes, with ReLU between."""
    return nn.Sequential(
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def accuracy(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """For each sample, 1 where the most likely class is right and 0 where not: output (n, 10), target (n,) -> (n,)."""
    return (output.argmax(dim=1) == target).float()


def build() -> ModelWrapper:
    """Called once by `loss-slicer`, which then loads each checkpoint's tensors into the model."""
    train_data, test_data = load_digits()
    return ModelWrapper(make_model(), nn.CrossEntropyLoss(), train_data, test_data, metrics={"accuracy": accuracy})
