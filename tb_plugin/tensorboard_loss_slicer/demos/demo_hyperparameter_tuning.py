"""Learning rates side by side: the plane around each network as it trains, on the same directions.

    python -m tensorboard_loss_slicer.demos.demo_hyperparameter_tuning
    tensorboard --logdir=demo_logs

`--help` tells the options.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.tensorboard import SummaryWriter

from slicer_core import LinearInterpolationSlicer, RandomDirectionSlicer
from tensorboard_loss_slicer.demos import digits
from tensorboard_loss_slicer.summary_v2 import log_slice

LEARNING_RATES = (0.01, 0.1, 1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains a network for each learning rate, from the same start, with slices every few epochs."""
    options = digits.arguments_of(__doc__, epochs=20, arguments=arguments)
    folder = digits.new_folder(options.logdir, "hyperparameter_tuning")
    epochs_to_log = digits.logged_epochs(options.epochs, 3)
    for rate in LEARNING_RATES:
        wrapper = digits.build(options.seed)
        random = RandomDirectionSlicer(wrapper, progress=False)
        optimizer = torch.optim.SGD(wrapper.model.parameters(), lr=rate)
        start = wrapper.get_parameters()
        with SummaryWriter(str(folder / f"learning_rate_{rate}")) as writer:
            for epoch in digits.train(wrapper, optimizer, epochs=options.epochs, seed=options.seed, writer=writer):
                if epoch not in epochs_to_log:
                    continue
                plane = random.slice_2d(grid_size=21, range=(-1.0, 1.0), seed=options.seed)
                log_slice("landscape", plane, step=epoch, description="Two random directions.", writer=writer)
                loss, widths = digits.center_loss(plane), [plane.measures[f"width_{axis}"].value for axis in (0, 1)]
                print(
                    f"learning rate {rate:<4}  epoch {epoch:3}  train loss {loss:.4f}, "
                    f"widths {widths[0]:.2f} and {widths[1]:.2f}"
                )
            slicer = LinearInterpolationSlicer(wrapper, split="both", progress=False)
            line = slicer.slice(start_point=start, end_point=wrapper.get_parameters())
            log_slice("start_to_end", line, step=options.epochs, description="From start to end.", writer=writer)
    digits.say_where(folder, options.logdir)


if __name__ == "__main__":
    main()
