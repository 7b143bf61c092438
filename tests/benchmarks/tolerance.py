"""A plane to a tolerance against the full grid: sample evaluations of both, and the worst error against its bound.

Each network is first trained for seconds on a task that can be learned, so that its landscape is that of a training and
not of random weights. The full grid is evaluated to know the true errors; `--check` evaluates only so many of the
interpolated points, drawn at random.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import gpt, mlp, resnet20
from slicer_core import EvaluationSettings, ModelWrapper
from slicer_core.evaluate import Grid, complete, evaluate, evaluate_to_tolerance
from slicer_core.methods.method import CenterPoint, SliceOptions
from slicer_core.methods.random_direction import Random2D
from slicer_core.plan import PointBlock
from slicer_core.tolerance import Tolerance

Draw = Callable[[int], tuple[Tensor, Tensor]]


class ClassesSecond(nn.Module):
    """Scores (n, tokens, words) as cross-entropy has them, so that a sequence is one sample."""

    def forward(self, x: Tensor) -> Tensor:
        """To (n, words, tokens)."""
        return x.transpose(1, 2)


def sequence_model() -> nn.Module:
    """The small GPT-2 of the other benchmarks."""
    return nn.Sequential(gpt(), ClassesSecond())


def vectors(classes: int = 10, size: int = 784, strength: float = 0.08) -> Draw:
    """A mean for each class, and noise that makes classes overlap."""
    means = strength * torch.randn(classes, size)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        target = torch.randint(0, classes, (count,))
        return means[target] + torch.randn(count, size), target

    return draw


def images(classes: int = 10) -> Draw:
    """A smooth picture for each class, of random contrast under noise."""
    pictures = F.interpolate(torch.randn(classes, 3, 8, 8), 32, mode="bilinear")

    def draw(count: int) -> tuple[Tensor, Tensor]:
        target = torch.randint(0, classes, (count,))
        contrast = 0.5 * torch.rand(count, 1, 1, 1)
        return contrast * pictures[target] + 0.7 * torch.randn(count, 3, 32, 32), target

    return draw


def sequences(vocabulary: int = 256, length: int = 64) -> Draw:
    """A Markov chain; the target is the next token."""
    chain = (2 * torch.randn(vocabulary, vocabulary)).softmax(dim=1)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        tokens = [torch.randint(0, vocabulary, (count,))]
        for _ in range(length):
            tokens.append(torch.multinomial(chain[tokens[-1]], 1)[:, 0])
        whole = torch.stack(tokens, dim=1)
        return whole[:, :-1], whole[:, 1:]

    return draw


@dataclass(frozen=True, kw_only=True)
class Row:
    """A network, how it is trained, and how many samples its plane is taken on."""

    name: str
    model: Callable[[], nn.Module]
    task: Callable[[], Draw]
    steps: int
    rate: float
    batch: int
    samples: int
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW


ROWS = {
    "mlp": Row(name="MLP 784-128-64-10", model=mlp, task=vectors, steps=300, rate=1e-3, batch=100, samples=1000),
    "resnet": Row(
        name="ResNet-20",
        model=resnet20,
        task=images,
        steps=240,
        rate=0.2,
        batch=64,
        samples=256,
        optimizer=partial(torch.optim.SGD, momentum=0.9, weight_decay=5e-4),
    ),
    "gpt": Row(
        name="GPT 4 layers x 128", model=sequence_model, task=sequences, steps=150, rate=1e-3, batch=16, samples=16
    ),
}


def trained(row: Row) -> ModelWrapper:
    """The network after its training, with samples that it has not seen."""
    torch.manual_seed(0)
    model, draw = row.model(), row.task()
    optimizer = row.optimizer(model.parameters(), lr=row.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, row.rate, total_steps=row.steps)
    for _ in range(row.steps):
        inputs, target = draw(row.batch)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), target).backward()
        optimizer.step()
        schedule.step()
    return ModelWrapper(model, nn.CrossEntropyLoss(), draw(row.samples))


def measure(row: Row, tolerance: Tolerance, grid: int, check: int | None) -> None:
    """Evaluates the plane to the tolerance, then what is true, and prints the row."""
    start = time.perf_counter()
    wrapper = trained(row)
    training = time.perf_counter() - start
    state = wrapper.state()
    center = CenterPoint(wrapper=wrapper, state=state, scale_state=state, other=lambda name: state)
    plan = Random2D().plan(center, SliceOptions(grid=(grid, grid)))
    points = Grid.of([axis.values for axis in plan.axes])
    data, settings = wrapper.split("train"), EvaluationSettings()
    found = evaluate_to_tolerance(wrapper, data, plan.blocks, state, points, tolerance=tolerance, settings=settings)
    completed = complete(found.sums["loss"], points, tolerance=found.tolerance["loss"])
    unsure = np.flatnonzero(completed.num_entries < data.num_samples)
    checked = unsure if check is None else np.sort(np.random.default_rng(0).permutation(unsure)[:check])
    (block,) = plan.blocks
    own = PointBlock(directions=block.directions, coefficients=block.coefficients[checked])
    start = time.perf_counter()
    true = evaluate(wrapper, data, [own], state, settings=settings).sums["loss"].values
    checking = time.perf_counter() - start
    error = float(np.abs(completed.values[checked] - true).max(initial=0.0))
    report, known = found.tolerance, found.sums["loss"].values
    ratio = report["sample_evaluations_of_all"] / report["sample_evaluations"]
    within = "within" if error <= report["error_bound"] else "ABOVE"
    print(
        f"{row.name}: loss {found.sums['loss'].center_value:.4g} at the center, up to {np.nanmax(known):.4g}; "
        f"trained for {training:.0f} s\n"
        f"  sample evaluations {report['sample_evaluations']:,} of {report['sample_evaluations_of_all']:,}: "
        f"{ratio:.2f}x fewer; points {report['points_evaluated']} evaluated, {report['points_interpolated']} "
        f"interpolated\n"
        f"  tolerance {report['loss']:.3g}; worst true error {error:.3g} of {checked.size} points, {within} the stated "
        f"bound {report['error_bound']:.3g} (interpolation {report['interpolation_error']:.3g}, standard error of the "
        f"samples {report['sampling_standard_error']:.3g})\n"
        f"  {found.seconds:.1f} s, and {checking:.1f} s for the true values; strategy {found.strategy}",
        flush=True,
    )


def main() -> None:
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--tolerance", default="1%")
    parser.add_argument("--grid", type=int, default=51)
    parser.add_argument("--check", type=int, help="true values at so many points only")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}")
    for name in options.rows:
        measure(ROWS[name], Tolerance.parse(options.tolerance), options.grid, options.check)


if __name__ == "__main__":
    main()
