"""What to slice: a 26-layer convolutional network on the digits, with skip connections (`build`) and without
(`build_plain`): the pair of networks of Li et al. 2018, "Visualizing the loss landscape of neural nets", made small.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from slicer_core import ModelWrapper
from slicer_core.examples import load_digits

WIDTHS = (8, 16, 32)
BLOCKS_PER_WIDTH = 4
PIXELS = 16


class PlainBlock(nn.Module):
    """Two convolutions with BatchNorm and ReLU: (n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)

    def residual(self, images: torch.Tensor) -> torch.Tensor:
        """Both convolutions, before the last ReLU."""
        return self.norm2(self.conv2(F.relu(self.norm1(self.conv1(images)))))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.relu(self.residual(images))


class SkipBlock(PlainBlock):
    """The same, with its input added, subsampled and padded with zeros where it is narrower (He et al. 2016, A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride)
        self.stride = stride
        self.num_missing = outputs - inputs

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shortcut = images[:, :, :: self.stride, :: self.stride]
        if self.num_missing:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.num_missing))
        return F.relu(self.residual(images) + shortcut)


class ConvNet(nn.Module):
    """(n, 1, 16, 16) -> logits (n, 10): a convolution, 12 blocks of two, a linear layer on the mean of the pixels."""

    def __init__(self, block: type[PlainBlock]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, WIDTHS[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        blocks: list[nn.Module] = []
        inputs = WIDTHS[0]
        for width in WIDTHS:
            for index in range(BLOCKS_PER_WIDTH):
                blocks.append(block(inputs, width, stride=2 if index == 0 and width != WIDTHS[0] else 1))
                inputs = width
        # By its own name, so that checkpoints of one network are refused by the other: their shapes are alike.
        self.kind = "skip" if block is SkipBlock else "plain"
        self.add_module(self.kind, nn.Sequential(*blocks))
        self.linear = nn.Linear(WIDTHS[-1], 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.get_submodule(self.kind)(F.relu(self.norm(self.conv(images))))
        return self.linear(features.mean(dim=(2, 3)))


def make_model(*, skip: bool) -> nn.Module:
    """The network with or without skip connections."""
    return ConvNet(SkipBlock if skip else PlainBlock)


def enlarged_digits() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """`load_digits` as images of 16x16 pixels, (n, 1, 16, 16)."""

    def enlarged(pixels: torch.Tensor) -> torch.Tensor:
        images = pixels.view(-1, 1, 8, 8)
        return F.interpolate(images, size=(PIXELS, PIXELS), mode="bilinear", align_corners=False)

    (train_pixels, train_labels), (test_pixels, test_labels) = load_digits()
    return (enlarged(train_pixels), train_labels), (enlarged(test_pixels), test_labels)


def accuracy(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """For each sample, 1 where the most likely class is right and 0 where not: output (n, 10), target (n,) -> (n,)."""
    return (output.argmax(dim=1) == target).float()


def build(*, skip: bool = True) -> ModelWrapper:
    """The network with skip connections."""
    train_data, test_data = enlarged_digits()
    return ModelWrapper(
        make_model(skip=skip), nn.CrossEntropyLoss(), train_data, test_data, metrics={"accuracy": accuracy}
    )


def build_plain() -> ModelWrapper:
    """The network without."""
    return build(skip=False)
