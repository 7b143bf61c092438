"""What to slice: a small convolutional network on the digits, trained with small and with large batches."""

from __future__ import annotations

import torch
from torch import nn

from slicer_core import ModelWrapper
from slicer_core.examples import load_digits


def make_model() -> nn.Module:
    """(n, 64) pixels -> logits (n, 10): three convolutions with BatchNorm, two pools, a linear layer."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def accuracy(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """For each sample, 1 where the most likely class is right and 0 where not: output (n, 10), target (n,) -> (n,)."""
    return (output.argmax(dim=1) == target).float()


def build() -> ModelWrapper:
    """Called once by `loss-slicer`, which then loads each checkpoint's tensors into the model."""
    train_data, test_data = load_digits()
    return ModelWrapper(make_model(), nn.CrossEntropyLoss(), train_data, test_data, metrics={"accuracy": accuracy})
