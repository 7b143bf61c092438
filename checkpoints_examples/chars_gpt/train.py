"""Train the character GPT of `subject.py`, and keep checkpoints along the way.

python checkpoints_examples/chars_gpt/train.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import safetensors.torch
import torch
from subject import LENGTH, CharacterGPT, character_losses, load_text, sequences
from torch import nn

CHECKPOINT_STEPS = (0, 100, 300, 800, 2000)
BATCH_SIZE = 32
LEARNING_RATE = 3e-3


def initialize(model: nn.Module, generator: torch.Generator) -> None:
    """Weights N(0, 0.02²) and biases 0, as GPT-2 does, from `generator`."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if name.endswith("bias"):
                parameter.zero_()
            elif "norm" not in name:
                parameter.normal_(0, 0.02, generator=generator)


def train(*, seed: int, folder: Path) -> None:
    """Trains, and saves at each of CHECKPOINT_STEPS; step 0 is the initialization."""
    generator = torch.Generator().manual_seed(seed)
    text, _, characters = load_text()
    model = CharacterGPT(len(characters))
    initialize(model, generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, CHECKPOINT_STEPS[-1])
    folder.mkdir(parents=True, exist_ok=True)

    for step in range(CHECKPOINT_STEPS[-1] + 1):
        if step:
            starts = torch.randint(len(text) - LENGTH, (BATCH_SIZE,), generator=generator)
            optimizer.zero_grad()
            character_losses(model, text[starts[:, None] + torch.arange(LENGTH + 1)]).mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        if step in CHECKPOINT_STEPS:
            safetensors.torch.save_file(model.state_dict(), folder / f"step-{step:04d}.safetensors")
            print(f"step {step:4}  {report(model)}", flush=True)


@torch.no_grad()
def report(model: nn.Module) -> str:
    """Loss on passages of the train and the test text, in nats a character, as text."""
    train_text, test_text, _ = load_text()
    parts = []
    for name, text, count in (("train", train_text, 512), ("test", test_text, 128)):
        parts.append(f"{name} loss {character_losses(model, sequences(text, count)).mean().item():.4f}")
    return "  ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the character GPT and save its checkpoints.")
    parser.add_argument("--seed", type=int, default=0, help="of the initialization and the batches (default: 0)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="default: the folder of this script")
    arguments = parser.parse_args()

    # A sum split over threads is rounded differently for each number of them.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train(seed=arguments.seed, folder=arguments.out / "checkpoints")


if __name__ == "__main__":
    main()
