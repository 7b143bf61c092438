"""What is sliced: a network that was trained for a moment, so that its loss is not that of chance, and its data.

The data is drawn from a seed. A tenth of the labels are wrong, which keeps the loss at the center from being tiny.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import models
from slicer_core import ModelWrapper

_CLASSES = 10
_TRAINING_STEPS = 20
_TRAINING_BATCH = 64
_WRONG = 0.1


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network with its data (inputs, target), and the size of the batches that both loops run.

    `loss(output, target)` is the user's mean over the batch. `wrap(model, data)` is the same for the engine.
    """

    model: nn.Module
    data: tuple[Tensor, Tensor]
    batch_size: int
    loss: Callable[[Tensor, Tensor], Tensor]
    wrap: Callable[[nn.Module, tuple[Tensor, Tensor]], ModelWrapper]

    def wrapper(self) -> ModelWrapper:
        """A new one: nothing that the engine found out about another is known to it."""
        return self.wrap(self.model, self.data)

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """The batches of the user's loop, which are the engine's too."""
        inputs, target = self.data
        return list(zip(inputs.split(self.batch_size), target.split(self.batch_size), strict=True))

    def parameters(self) -> dict[str, Tensor]:
        """The parameters by name, detached, on the CPU."""
        return {name: parameter.detach().cpu() for name, parameter in self.model.named_parameters()}

    def with_first(self, num_samples: int) -> Subject:
        """The same network with the first samples only."""
        inputs, target = self.data
        return replace(self, data=(inputs[:num_samples], target[:num_samples]))


def mlp(num_samples: int, device: torch.device) -> Subject:
    """784-128-64-10, all samples in one batch."""
    return _classifier(models.mlp, (784,), num_samples, num_samples, device)


def bag(device: torch.device) -> Subject:
    """A mean of 30 of 100,000 embeddings of width 64 and two layers, 8,000 samples in batches of 200."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        words = (100_000 * torch.rand(8000, 30) ** 3).long().to(device)
        target = (words.float().mean(dim=1) > 25_000).long()
        model, data = models.bag().to(device), (words, target)
        _train(model, data, F.cross_entropy)
    return Subject(model=model, data=data, batch_size=200, loss=F.cross_entropy, wrap=_wrap_classifier)


def resnet20(device: torch.device) -> Subject:
    """ResNet-20 on 256 images of 3×32×32 in one batch."""
    return _classifier(models.resnet20, (3, 32, 32), 256, 256, device)


def resnet18(device: torch.device) -> Subject:
    """ResNet-18 for CIFAR on 128 images of 3×32×32 in one batch."""
    return _classifier(models.resnet18, (3, 32, 32), 128, 128, device)


def resnet56(num_samples: int, device: torch.device) -> Subject:
    """ResNet-56 on images of 3×32×32 in batches of 1,000."""
    return _classifier(models.resnet56, (3, 32, 32), num_samples, 1000, device)


def gpt(device: torch.device) -> Subject:
    """GPT of 4 layers on 16 sequences of 64 tokens in one batch; each sequence is a sample."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        words = (256 * torch.rand(16, 65) ** 3).long().to(device)
        model = models.gpt().to(device)
        data = (words[:, :-1].contiguous(), words[:, 1:].contiguous())
        _train(model, data, _token_loss)
    return Subject(model=model, data=data, batch_size=16, loss=_token_loss, wrap=_wrap_gpt)


def _classifier(
    build: Callable[[], nn.Module], shape: tuple[int, ...], num_samples: int, batch_size: int, device: torch.device
) -> Subject:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        target = torch.randint(_CLASSES, (num_samples,))
        inputs = torch.randn(num_samples, *shape) + 0.2 * torch.randn(_CLASSES, *shape)[target]
        wrong = torch.rand(num_samples) < _WRONG
        target = torch.where(wrong, torch.randint(_CLASSES, (num_samples,)), target)
        model = build().to(device)
        data = (inputs.to(device), target.to(device))
        _train(model, data, F.cross_entropy)
    return Subject(model=model, data=data, batch_size=batch_size, loss=F.cross_entropy, wrap=_wrap_classifier)


def _train(model: nn.Module, data: tuple[Tensor, Tensor], loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(_TRAINING_STEPS):
        first = step * _TRAINING_BATCH % len(data[0])
        inputs, target = (part[first : first + _TRAINING_BATCH] for part in data)
        optimizer.zero_grad()
        loss(model(inputs), target).backward()
        optimizer.step()
    optimizer.zero_grad()
    model.eval()


def _wrap_classifier(model: nn.Module, data: tuple[Tensor, Tensor]) -> ModelWrapper:
    return ModelWrapper(model, nn.CrossEntropyLoss(), data)


def _wrap_gpt(model: nn.Module, data: tuple[Tensor, Tensor]) -> ModelWrapper:
    def sequence_losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, target = batch
        losses = F.cross_entropy(model(inputs).flatten(0, 1), target.flatten(), reduction="none")
        return losses.view(target.shape).mean(dim=1)

    return ModelWrapper(model, batch_loss=sequence_losses, train_data=data)


def _token_loss(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), target.flatten())
