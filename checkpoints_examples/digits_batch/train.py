"""Train the network of `subject.py` four times: batches of 16 or of 719, with and without weight decay.

    python checkpoints_examples/digits_batch/train.py

As Li et al. 2018, section 4, did with VGG-9 on CIFAR-10. All four start from the same weights.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import safetensors.torch
import torch
from subject import accuracy, make_model
from torch import nn

from slicer_core.examples import load_digits

NUM_EPOCHS = 60
CHECKPOINT_EPOCHS = (0, NUM_EPOCHS)
BATCH_SIZES = {"small": 16, "large": 719}
WEIGHT_DECAYS = {"": 0.0, "-decay": 2e-3}
LEARNING_RATE = 0.02


def initialize(model: nn.Module, generator: torch.Generator) -> None:
    """Every weight and bias uniform in ±1/sqrt(fan in), from `generator`."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                if layer.bias is not None:
                    layer.bias.uniform_(-bound, bound, generator=generator)


def train(*, batch_size: int, weight_decay: float, seed: int, folder: Path) -> None:
    """Trains once, and saves the first and the last epoch."""
    generator = torch.Generator().manual_seed(seed)
    model = make_model()
    initialize(model, generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=weight_decay)
    (images, labels), _ = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    for epoch in range(NUM_EPOCHS + 1):
        if epoch:
            model.train()
            for batch in torch.randperm(len(labels), generator=generator).split(batch_size):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
                optimizer.step()
        if epoch in CHECKPOINT_EPOCHS:
            safetensors.torch.save_file(model.state_dict(), folder / f"epoch-{epoch:02d}.safetensors")
    print(f"{folder.parent.name:12}  {report(model)}", flush=True)


@torch.no_grad()
def report(model: nn.Module) -> str:
    """Loss and accuracy on the train and the test data in eval mode, and the norm of the parameters, as text."""
    model.eval()
    parts = []
    for name, (images, labels) in zip(("train", "test"), load_digits(), strict=True):
        output = model(images)
        loss = nn.functional.cross_entropy(output, labels).item()
        parts.append(f"{name} loss {loss:.6f} accuracy {accuracy(output, labels).mean().item():.4f}")
    norm = torch.cat([parameter.flatten() for parameter in model.parameters()]).norm().item()
    return "  ".join([*parts, f"norm {norm:.2f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Train with small and large batches and save the checkpoints.")
    parser.add_argument("--seed", type=int, default=0, help="of the initialization and the batches (default: 0)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="default: the folder of this script")
    arguments = parser.parse_args()

    # A sum split over threads is rounded differently for each number of them.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for batch_name, batch_size in BATCH_SIZES.items():
        for decay_name, weight_decay in WEIGHT_DECAYS.items():
            folder = arguments.out / f"{batch_name}{decay_name}" / "checkpoints"
            train(batch_size=batch_size, weight_decay=weight_decay, seed=arguments.seed, folder=folder)


if __name__ == "__main__":
    main()
