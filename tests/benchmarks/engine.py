"""`make bench`: the engine against the loop that a good user writes, side by side in one process.

The baseline sets `p.data = q + a*r + b*s` under `inference_mode` and runs the same batch, with no `.item()`. Both take
turns, and the median of the ratios is printed with its range. The time that the baseline's matrix products alone would
take, at the rate that this process measures, is its floor. With `--tuned` both run with glibc's thresholds raised.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from slicer_core import EvaluationSettings, ModelWrapper
from slicer_core.evaluate import evaluate
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock

Blocks = Sequence[tuple[tuple[dict[str, Tensor], ...], np.ndarray]]


class Residual(nn.Module):
    """A block of ResNet-20 (He et al. 2016, section 4.2), with a projection where the shape changes."""

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
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    inputs = 16
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        for number in range(3):
            layers.append(Residual(inputs, outputs, stride if number == 0 else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a model, its data, and the points."""

    name: str
    model: nn.Module
    data: tuple[Tensor, Tensor]
    blocks: Blocks


def plane(model: nn.Module, grid: int) -> Blocks:
    """Two random directions in all parameters."""
    values = np.linspace(-1, 1, grid)
    mesh = np.stack([part.ravel() for part in np.meshgrid(values, values, indexing="ij")], axis=1)
    return [((_direction(model), _direction(model)), mesh)]


def layers(model: nn.Module, points: int) -> Blocks:
    """One random direction for each parameter with more than one dimension."""
    values = np.linspace(-1, 1, points)[:, None]
    return [
        (({name: 0.1 * torch.randn_like(tensor)},), values)
        for name, tensor in model.named_parameters()
        if tensor.ndim > 1
    ]


def by_user(row: Row) -> Tensor:
    """The loss at each point by the user's loop."""
    loss_fn = nn.CrossEntropyLoss()
    inputs, target = row.data
    parameters = dict(row.model.named_parameters())
    center = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    losses = []
    row.model.eval()
    with torch.inference_mode():
        for directions, coefficients in row.blocks:
            for point in coefficients.tolist():
                for name in directions[0]:
                    value = center[name] + point[0] * directions[0][name]
                    for weight, direction in zip(point[1:], directions[1:], strict=True):
                        value = value + weight * direction[name]
                    parameters[name].data = value
                losses.append(loss_fn(row.model(inputs), target))
            for name in directions[0]:
                parameters[name].data = center[name]
    return torch.stack(losses)


def by_engine(row: Row, strategy: str) -> tuple[np.ndarray, str]:
    """The same by the engine, with a wrapper of its own, so that capture and prologue are counted each time."""
    wrapper = ModelWrapper(row.model, nn.CrossEntropyLoss(), row.data)
    settings = EvaluationSettings(batch_size=len(row.data[0]), strategy=strategy)
    blocks = [PointBlock(directions=lambda d=directions: d, coefficients=points) for directions, points in row.blocks]
    state: NamedTensors = wrapper.state()
    found = evaluate(wrapper, wrapper.split("train", len(row.data[0])), blocks, state, settings=settings)
    return found.sums["loss"].values, found.strategy


def measure(row: Row, repeats: int, rate: float) -> None:
    """Runs both in turn and prints the row."""
    by_engine(row, "auto")
    ratios, users, engines, error, strategy = [], [], [], 0.0, ""
    for _ in range(repeats):
        start = time.perf_counter()
        expected = by_user(row)
        users.append(time.perf_counter() - start)
        start = time.perf_counter()
        found, strategy = by_engine(row, "auto")
        engines.append(time.perf_counter() - start)
        ratios.append(users[-1] / engines[-1])
        error = max(error, float(np.nanmax(np.abs(found - expected.double().numpy()) / np.abs(found))))
    points = sum(len(coefficients) for _, coefficients in row.blocks)
    floor = _products(row) * points / rate
    print(
        f"{row.name:<46} {points:>6} {statistics.median(users):>8.2f} {statistics.median(engines):>8.2f} {floor:>8.2f} "
        f"{statistics.median(ratios):>7.2f}  {min(ratios):.2f}-{max(ratios):.2f}  {error:.0e}  {strategy}",
        flush=True,
    )


def _products(row: Row) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        row.model(row.data[0])
    return counter.get_total_flops()


def _rate() -> float:
    """Operations a second of a matrix product of 1,024 by 1,024, the best of several."""
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = min(_seconds(lambda: left @ right) for _ in range(20))
    return 2 * 1024**3 / best


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _direction(model: nn.Module) -> dict[str, Tensor]:
    return {name: 0.02 * torch.randn_like(tensor) for name, tensor in model.named_parameters()}


def rows(quick: bool) -> list[Row]:
    """The table's rows; quick ones have fewer points, so that what is done once weighs more."""
    torch.manual_seed(0)
    small, large, net = mlp(), mlp(), resnet20()
    images = (torch.randn(256, 3, 32, 32), torch.randint(0, 10, (256,)))
    few = (torch.randn(1000, 784), torch.randint(0, 10, (1000,)))
    many = (torch.randn(10_000, 784), torch.randint(0, 10, (10_000,)))
    return [
        Row(name="MLP 784-128-64-10, 1,000 samples, plane", model=small, data=few, blocks=plane(small, 51)),
        Row(name="the same, 10,000 samples", model=large, data=many, blocks=plane(large, 15 if quick else 51)),
        Row(name="ResNet-20, 256 images, plane", model=net, data=images, blocks=plane(net, 11 if quick else 51)),
        Row(name="MLP, each layer, 51 points", model=small, data=few, blocks=layers(small, 51)),
        Row(name="ResNet-20, each layer", model=net, data=images, blocks=layers(net, 5 if quick else 51)),
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer points in the long rows")
    parser.add_argument("--tuned", action="store_true", help="raise glibc's malloc thresholds for both")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.tuned:
        from loss_slicer.allocator import keep_freed_memory

        keep_freed_memory()
    rate = _rate()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}, {_processor()}")
    print(f"matrix product {rate / 1e9:.0f} GFLOP/s, allocator {'tuned' if options.tuned else 'default'}")
    print(f"{'':<46} {'points':>6} {'user s':>8} {'engine s':>8} {'floor s':>8} {'ratio':>7}  range  error")
    for row in rows(options.quick):
        measure(row, options.repeats, rate)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
