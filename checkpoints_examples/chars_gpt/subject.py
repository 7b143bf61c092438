"""What to slice: a character-level GPT of two layers on the first chapters of Moby-Dick (LICENSE-text.md).

A language model's batch is not a pair of inputs and targets, so this module gives `batch_loss` rather than `loss_fn`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from slicer_core import LossSum, ModelWrapper

TEXT = Path(__file__).with_name("moby_dick.txt")
LENGTH = 64
WIDTH = 64
NUM_HEADS = 4
NUM_LAYERS = 2


class Block(nn.Module):
    """Causal self-attention and a two-layer network, each on normalized input and added to it: (n, t, WIDTH)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attention = nn.Linear(WIDTH, 3 * WIDTH)
        self.projection = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        num_sequences, length, _ = hidden.shape
        heads = self.attention(self.norm1(hidden)).view(num_sequences, length, 3, NUM_HEADS, WIDTH // NUM_HEADS)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.projection(mixed.transpose(1, 2).reshape(num_sequences, length, WIDTH))
        return hidden + self.down(F.gelu(self.up(self.norm2(hidden))))


class CharacterGPT(nn.Module):
    """Indices of characters (n, t) -> logits of the next ones (n, t, characters), by the embedding's own vectors."""

    def __init__(self, num_characters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_characters, WIDTH)
        self.position = nn.Parameter(torch.zeros(LENGTH, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(NUM_LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(indices) + self.position[: indices.shape[1]]
        return self.norm(self.blocks(hidden)) @ self.embedding.weight.T


def load_text() -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """The text as `(train indices (m,), test indices (k,), characters)`: its first nine tenths, and the rest."""
    text = TEXT.read_text(encoding="utf-8")
    characters = sorted(set(text))
    index = {character: number for number, character in enumerate(characters)}
    indices = torch.tensor([index[character] for character in text])
    cut = len(indices) * 9 // 10
    return indices[:cut], indices[cut:], characters


def sequences(indices: torch.Tensor, num_sequences: int) -> torch.Tensor:
    """Evenly spaced passages of LENGTH + 1 characters: (num_sequences, LENGTH + 1)."""
    starts = torch.arange(num_sequences) * (len(indices) - LENGTH - 1) // num_sequences
    return indices[starts[:, None] + torch.arange(LENGTH + 1)]


def character_losses(model: nn.Module, passages: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each next character: passages (n, LENGTH + 1) -> losses (n, LENGTH)."""
    logits = model(passages[:, :-1])
    return F.cross_entropy(logits.transpose(1, 2), passages[:, 1:], reduction="none")


def batch_loss(model: nn.Module, passages: torch.Tensor) -> LossSum:
    """A sum and a count for each passage."""
    losses = character_losses(model, passages)
    return LossSum(losses.sum(dim=1), torch.full((len(passages),), float(LENGTH)))


def build(*, num_sequences: int = 512) -> ModelWrapper:
    """`--set num_sequences=2048` takes more passages of the training text."""
    train, test, characters = load_text()
    batches = list(sequences(train, num_sequences).split(128))
    test_batches = list(sequences(test, num_sequences // 4).split(128))
    return ModelWrapper(CharacterGPT(len(characters)), None, batches, test_batches, batch_loss=batch_loss)
