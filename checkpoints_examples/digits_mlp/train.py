"""Train the network of `subject.py` on the handwritten digits, and keep checkpoints along the way.

    python checkpoints_examples/digits_mlp/train.py --optimizer all

All random numbers come from one seeded generator for each run: runs with the same seed share the initialization and
the order of the batches, so that nothing but the optimizer differs.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from subject import accuracy, make_model
from torch import nn

from slicer_core.examples import load_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Dense early, where the loss falls fastest; an epoch is 22 steps.
CHECKPOINT_STEPS = (0, 10, 20, 40, 80, 120, 200, 320, 500, 800, 1200, 2000)
BATCH_SIZE = 64

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=3e-3),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.5),
}


def initialize(model: nn.Module, generator: torch.Generator) -> None:
    """Every weight and bias uniform in ±1/sqrt(inputs), as `nn.Linear` does, but from `generator`."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)


def batches(num_samples: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Indices of batch after batch, shuffled anew in each epoch, without end. The last, smaller batch is dropped."""
    while True:
        order = torch.randperm(num_samples, generator=generator)
        yield from (batch for batch in order.split(BATCH_SIZE) if len(batch) == BATCH_SIZE)


def train(optimizer_name: str, seed: int) -> Iterator[tuple[int, nn.Module]]:
    """Yields `(step, model)` at each step of CHECKPOINT_STEPS; step 0 is the initialization."""
    generator = torch.Generator().manual_seed(seed)
    model = make_model()
    initialize(model, generator)
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    loss_fn = nn.CrossEntropyLoss()
    (images, labels), _ = load_digits()

    yield 0, model
    for step, batch in enumerate(batches(len(labels), generator), start=1):
        optimizer.zero_grad()
        loss_fn(model(images[batch]), labels[batch]).backward()
        optimizer.step()
        if step in CHECKPOINT_STEPS:
            yield step, model
        if step == CHECKPOINT_STEPS[-1]:
            return


def to_bytes(model: nn.Module, metadata: dict[str, str]) -> bytes:
    """The safetensors file of the model, the same bytes at each run: safetensors itself shuffles the metadata."""
    data = safetensors.torch.save(model.state_dict(), metadata=metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    return data[:8] + header.ljust(end - 8) + data[end:]


@torch.no_grad()
def report(model: nn.Module) -> str:
    """Loss and accuracy on the train and the test data, as text."""
    parts = []
    for name, (images, labels) in zip(("train", "test"), load_digits(), strict=True):
        output = model(images)
        loss = nn.functional.cross_entropy(output, labels).item()
        parts.append(f"{name} loss {loss:.6f} accuracy {accuracy(output, labels).mean().item():.4f}")
    return "  ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the digits network and save its checkpoints.")
    parser.add_argument("--optimizer", choices=[*OPTIMIZERS, "all"], default="all", help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the initialization and the batches (default: 0)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="default: the folder of this script")
    arguments = parser.parse_args()

    # A sum split over threads is rounded differently for each number of them.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    for name in OPTIMIZERS if arguments.optimizer == "all" else [arguments.optimizer]:
        folder = arguments.out / name / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        for step, model in train(name, arguments.seed):
            metadata = {"format": "pt", "step": str(step), "optimizer": name, "seed": str(arguments.seed)}
            (folder / f"step-{step:06d}.safetensors").write_bytes(to_bytes(model, metadata))
            print(f"{name:5}  step {step:4}  {report(model)}", flush=True)


if __name__ == "__main__":
    main()
