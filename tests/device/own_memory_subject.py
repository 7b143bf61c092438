"""A network with what devices differ in: tied weights, a buffer, BatchNorm, attention, convolution, a weighted loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from slicer_core import ModelWrapper


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.convolution = nn.Conv1d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.after = nn.LayerNorm(8)
        self.words = nn.Linear(8, 11, bias=False)
        self.words.weight = self.embedding.weight
        self.head = nn.Linear(11, 4)
        self.register_buffer("positions", torch.linspace(-1, 1, 6)[:, None].repeat(1, 8))

    def forward(self, x: Tensor) -> Tensor:
        states = self.embedding(x) + self.positions
        states = torch.relu_(self.norm(self.convolution(states.transpose(1, 2)))).transpose(1, 2)
        states = self.after(states + self.attention(states, states, states, need_weights=False)[0])
        return self.head(self.words(states).mean(1))


def data(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 11, (61, 6), generator=generator), torch.randint(0, 4, (61,), generator=generator)


def correct(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(-1) == target).float()


def build(device: str = "cpu") -> ModelWrapper:
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5, 1.0]))
    metrics: dict[str, Any] = {"correct": correct}
    return ModelWrapper(Network(), loss, data(1), data(2), device=device, metrics=metrics)
