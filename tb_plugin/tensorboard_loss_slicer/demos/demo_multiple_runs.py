"""Optimizers side by side: slices during training, of the checkpoints afterwards, and on lines between the networks.

    python -m tensorboard_loss_slicer.demos.demo_multiple_runs
    tensorboard --logdir=demo_logs

`--help` tells the options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from slicer_core import (
    AxisParallelSlicer,
    Job,
    LinearInterpolationSlicer,
    ModelWrapper,
    RandomDirectionSlicer,
    run_job,
)
from tensorboard_loss_slicer.demos import digits
from tensorboard_loss_slicer.job_log import JobLog
from tensorboard_loss_slicer.summary_v2 import log_slice

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=3e-3),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.5),
}
CLOSER = "adam"
SCALES = (0.1, 0.5, 1.0, 2.0)
GROUPS = (range(10), range(10, 20), range(20, 30))


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains a network with each optimizer, from the same start, and looks at them in three ways."""
    options = digits.arguments_of(__doc__, epochs=20, arguments=arguments)
    folder = digits.new_folder(options.logdir, "multiple_runs")
    ends = {name: _train_and_log(name, folder / name, epochs=options.epochs, seed=options.seed) for name in OPTIMIZERS}
    _slice_checkpoints(folder)
    _slice_between(ends, folder / "between", step=options.epochs, seed=options.seed)
    digits.say_where(folder, options.logdir)


def _train_and_log(optimizer_name: str, folder: Path, *, epochs: int, seed: int) -> dict[str, Tensor]:
    """One training with slices and checkpoints; returns its last parameters."""
    wrapper = digits.build(seed)
    optimizer = OPTIMIZERS[optimizer_name](wrapper.model.parameters())
    plane = RandomDirectionSlicer(wrapper, progress=False)
    (folder / "checkpoints").mkdir(parents=True)
    epochs_to_log = digits.logged_epochs(epochs, 4)
    with SummaryWriter(str(folder)) as writer:
        for epoch in digits.train(wrapper, optimizer, epochs=epochs, seed=seed, writer=writer):
            if epoch not in epochs_to_log:
                continue
            save_file(wrapper.model.state_dict(), folder / "checkpoints" / f"epoch-{epoch:03}.safetensors")
            found = plane.slice_2d(grid_size=13, range=(-0.5, 0.5), seed=seed)
            log_slice("landscape", found, step=epoch, writer=writer)
            print(f"{optimizer_name:5}  epoch {epoch:3}  train loss {digits.center_loss(found):.4f}")

        if optimizer_name == CLOSER:
            _look_closer(wrapper, writer, step=epochs, seed=seed)
    return wrapper.get_parameters()


def _look_closer(wrapper: ModelWrapper, writer: SummaryWriter, *, step: int, seed: int) -> None:
    """How far the basin reaches: lines to random networks at growing distances, and groups of single parameters."""
    lines, axes = LinearInterpolationSlicer(wrapper, progress=False), AxisParallelSlicer(wrapper, progress=False)
    for scale in SCALES:
        line = lines.slice(end_point=wrapper.get_random_parameters(scale=scale, seed=seed), n_samples=51)
        log_slice(f"linear_scale_{scale}", line, step=step, writer=writer)
    for number, group in enumerate(GROUPS):
        curves = axes.slice(bounds=(-2.0, 2.0), n_samples=21, params_to_slice=list(group))
        log_slice(f"group_{number}_analysis", curves, step=step, writer=writer)


def _slice_checkpoints(folder: Path) -> None:
    """What `loss-slicer run --method pca2d` does: the plane of each training's path, from its checkpoints alone."""
    job = Job(
        checkpoints=tuple(str(folder / name / "checkpoints") for name in OPTIMIZERS),
        method="pca2d",
        module=digits.__file__,
        grid="15",
        logdir=str(folder),
    )
    with JobLog() as log:
        for done in run_job(job, log).slices:
            print(f"{done.source:5}  the plane of its checkpoints' path")


def _slice_between(ends: dict[str, dict[str, Tensor]], folder: Path, *, step: int, seed: int) -> None:
    """Straight lines between the networks, whose barriers say whether they lie in one basin."""
    slicer = LinearInterpolationSlicer(digits.build(seed), split="both", progress=False)
    with SummaryWriter(str(folder)) as writer:
        for first, second in combinations(ends, 2):
            line = slicer.slice(start_point=ends[first], end_point=ends[second], n_samples=51)
            log_slice(f"{first}_to_{second}", line, step=step, writer=writer)
            print(f"from {first} to {second}  a barrier of {line.measures['barrier'].value:.4f}")


if __name__ == "__main__":
    main()
