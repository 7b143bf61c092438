"""What the demos share: the network and its data, a training, a run directory that is new, and what they say."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from slicer_core import ModelWrapper, Slice
from slicer_core.examples import load_digits

BATCH_SIZE = 64
LOGDIR = Path("demo_logs")


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """For each sample, 1 where the most likely class is right and 0 where not: output (n, 10), target (n,) -> (n,)."""
    return (output.argmax(dim=1) == target).float()


def build(seed: int = 0) -> ModelWrapper:
    """A network of 64 -> 32 -> 10, its loss and the digits; what a module for `--module` has, too."""
    train_data, test_data = load_digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return ModelWrapper(model, nn.CrossEntropyLoss(), train_data, test_data, metrics={"accuracy": accuracy})


def train(
    wrapper: ModelWrapper, optimizer: torch.optim.Optimizer, *, epochs: int, seed: int, writer: SummaryWriter
) -> Iterator[int]:
    """Trains, logs loss and accuracy of each epoch, and yields its number; 0 comes before the first."""
    (images, labels), test_data = load_digits()
    generator = torch.Generator().manual_seed(seed)
    yield 0
    for epoch in range(1, epochs + 1):
        for batch in torch.randperm(len(labels), generator=generator).split(BATCH_SIZE):
            optimizer.zero_grad()
            nn.functional.cross_entropy(wrapper.model(images[batch]), labels[batch]).backward()
            optimizer.step()
        for split, data in (("train", (images, labels)), ("test", test_data)):
            loss, right = _scores(wrapper.model, *data)
            writer.add_scalar(f"loss/{split}", loss, epoch)
            writer.add_scalar(f"accuracy/{split}", right, epoch)
        yield epoch


@torch.no_grad()
def _scores(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    output = model(images)
    return nn.functional.cross_entropy(output, labels).item(), accuracy(output, labels).mean().item()


def logged_epochs(epochs: int, times: int) -> set[int]:
    """About `times` of the numbers 0 to `epochs`, evenly spaced, both ends among them."""
    return {round(epochs * index / (times - 1)) for index in range(times)}


def arguments_of(description: str | None, *, epochs: int, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options that all demos have: `logdir`, `epochs` and `seed`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", type=Path, default=LOGDIR, help=f"the log directory (default: {LOGDIR})")
    parser.add_argument("--epochs", type=_positive, default=epochs, help=f"of each training (default: {epochs})")
    parser.add_argument("--seed", type=int, default=0, help="of the initialization and the batches (default: 0)")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def new_folder(logdir: Path, name: str) -> Path:
    """`logdir/name`, or `logdir/name-2` and so on where that is there: steps of two trainings do not mix in one run."""
    candidates = (logdir / (name if count == 1 else f"{name}-{count}") for count in range(1, 1_000_000))
    folder = next(path for path in candidates if not path.exists())
    folder.mkdir(parents=True)
    return folder


def center_loss(data: Slice) -> float:
    """The loss on the training data at the slice's center."""
    assert data.center is not None
    return data.center.loss["train"]


def say_where(folder: Path, logdir: Path) -> None:
    """The last lines of a demo."""
    print(f"\nThe log is in {folder}. To look at it, run")
    print(f"    tensorboard --logdir={logdir}")
    print("and open the address that it prints, tab Loss Slicer.")
