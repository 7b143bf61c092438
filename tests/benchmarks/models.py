"""The networks of the benchmarks, as their papers or tutorials have them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp() -> nn.Module:
    """784-128-64-10: 109,386 parameters."""
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def bag() -> nn.Module:
    """A bag of words: 100,000 embeddings of width 64, their mean, and two layers; 6,408,578 parameters."""
    return nn.Sequential(nn.EmbeddingBag(100_000, 64), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 2))


class Residual(nn.Module):
    """A block of a CIFAR ResNet (He et al. 2016, section 4.2), with a projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.first_norm, self.second_norm = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.skip = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h/stride, w/stride)."""
        out = self.second_norm(self.second(self.relu(self.first_norm(self.first(x)))))
        return self.relu(out + self.skip(x))


def resnet20() -> nn.Module:
    """272,474 parameters, images of 3×32×32, 10 classes."""
    return _resnet(blocks=3)


def resnet56() -> nn.Module:
    """855,770 parameters, images of 3×32×32, 10 classes."""
    return _resnet(blocks=9)


def resnet18() -> nn.Module:
    """11,173,962 parameters, images of 3×32×32, 10 classes: ResNet-18 with the first layers of the CIFAR ResNets."""
    return _resnet(blocks=2, widths=(64, 128, 256, 512))


def _resnet(blocks: int, widths: Sequence[int] = (16, 32, 64)) -> nn.Module:
    inputs = widths[0]
    layers: list[nn.Module] = [nn.Conv2d(3, inputs, 3, 1, 1, bias=False), nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)]
    for stage, outputs in enumerate(widths):
        for number in range(blocks):
            layers.append(Residual(inputs, outputs, 2 if stage and number == 0 else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


class TransformerBlock(nn.Module):
    """Causal attention and a GELU network, each after its normalization, as in GPT-2 (Radford et al. 2019)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.network_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to the same shape."""
        shape = x.shape
        parts = self.query_key_value(self.attention_norm(x)).view(shape[0], shape[1], 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(shape))
        return x + self.network(self.network_norm(x))


class GPT(nn.Module):
    """A small GPT-2: learned positions, and the embedding of the tokens again as the last layer."""

    def __init__(self, *, layers: int, width: int, heads: int, tokens: int, vocabulary: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers (n, tokens) to logits (n, tokens, vocabulary)."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.norm(self.blocks(self.tokens(tokens) + self.positions(places))))


def gpt() -> nn.Module:
    """4 layers, width 128, 4 heads, 64 tokens, 256 words: 834,304 parameters."""
    return GPT(layers=4, width=128, heads=4, tokens=64, vocabulary=256)
