"""Train both networks of `subject.py` on the enlarged digits, and keep checkpoints of epochs along the way.

    python checkpoints_examples/digits_conv/train.py

Both start from the same random weights and see the same batches. Checkpoints are torch files, nested under `model`
with their `epoch` beside it, as torchvision's reference scripts write them.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from subject import accuracy, enlarged_digits, make_model
from torch import nn

CHECKPOINT_EPOCHS = (0, 1, 3, 8, 20)
BATCH_SIZE = 64
LEARNING_RATE = 0.05
# The learning rate falls to a tenth for the last epochs, as is usual for these networks.
FIRST_SLOW_EPOCH = 17


def initialize(model: nn.Module, generator: torch.Generator) -> None:
    """Convolutions as He et al. 2015 (fan out), the linear layer uniform in ±1/sqrt(inputs), from `generator`."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
            with torch.no_grad():
                layer.weight.normal_(0, math.sqrt(2 / fan_out), generator=generator)
        elif isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)


def train(*, skip: bool, seed: int, folder: Path) -> None:
    """Trains one network, and saves it at each of CHECKPOINT_EPOCHS; 0 is the initialization."""
    generator = torch.Generator().manual_seed(seed)
    model = make_model(skip=skip)
    initialize(model, generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=5e-4)
    (images, labels), _ = enlarged_digits()
    folder.mkdir(parents=True, exist_ok=True)

    for epoch in range(CHECKPOINT_EPOCHS[-1] + 1):
        if epoch:
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * (0.1 if epoch >= FIRST_SLOW_EPOCH else 1)
            model.train()
            for batch in torch.randperm(len(labels), generator=generator).split(BATCH_SIZE):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
                optimizer.step()
        if epoch in CHECKPOINT_EPOCHS:
            torch.save({"model": model.state_dict(), "epoch": epoch}, folder / f"epoch-{epoch:02d}.pt")
            print(f"{'skip' if skip else 'plain':5}  epoch {epoch:2}  {report(model)}", flush=True)


@torch.no_grad()
def report(model: nn.Module) -> str:
    """Loss and accuracy on the train and the test data in eval mode, as text."""
    model.eval()
    parts = []
    for name, (images, labels) in zip(("train", "test"), enlarged_digits(), strict=True):
        output = model(images)
        loss = nn.functional.cross_entropy(output, labels).item()
        parts.append(f"{name} loss {loss:.6f} accuracy {accuracy(output, labels).mean().item():.4f}")
    return "  ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the convolutional networks and save their checkpoints.")
    parser.add_argument("--seed", type=int, default=0, help="of the initialization and the batches (default: 0)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="default: the folder of this script")
    arguments = parser.parse_args()

    # A sum split over threads is rounded differently for each number of them.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for skip in (True, False):
        train(skip=skip, seed=arguments.seed, folder=arguments.out / ("skip" if skip else "plain") / "checkpoints")


if __name__ == "__main__":
    main()
