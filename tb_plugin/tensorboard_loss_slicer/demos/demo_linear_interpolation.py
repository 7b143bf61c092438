"""Lines through the loss surface: from the network in training to random ones, and from its start to its end.

    python -m tensorboard_loss_slicer.demos.demo_linear_interpolation
    tensorboard --logdir=demo_logs

`--help` tells the options.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.tensorboard import SummaryWriter

from slicer_core import LinearInterpolationSlicer
from tensorboard_loss_slicer.demos import digits
from tensorboard_loss_slicer.summary_v2 import log_slice


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains one network, and logs a line every few epochs."""
    options = digits.arguments_of(__doc__, epochs=30, arguments=arguments)
    wrapper = digits.build(options.seed)
    slicer = LinearInterpolationSlicer(wrapper, split="both", progress=False)
    optimizer = torch.optim.SGD(wrapper.model.parameters(), lr=0.1)
    start = wrapper.get_parameters()
    folder = digits.new_folder(options.logdir, "linear_interpolation")

    with SummaryWriter(str(folder)) as writer:
        epochs_to_log = digits.logged_epochs(options.epochs, 4)
        for epoch in digits.train(wrapper, optimizer, epochs=options.epochs, seed=options.seed, writer=writer):
            if epoch not in epochs_to_log:
                continue
            line = slicer.slice(
                start_point=wrapper.get_parameters(),
                end_point=wrapper.get_random_parameters(scale=0.1, seed=options.seed),
                n_samples=51,
            )
            text = "From the network at 0 to a random one near it at 1."
            log_slice("to_random", line, step=epoch, description=text, writer=writer)
            print(f"epoch {epoch:3}  train loss {digits.center_loss(line):.4f}, a line from there to a random network")
        line = slicer.slice(start_point=start, end_point=wrapper.get_parameters(), n_samples=101)
        text = "From the initialization at 0 to the trained network at 1, and beyond both."
        log_slice("start_to_end", line, step=options.epochs, description=text, writer=writer)
        barrier = line.measures["barrier"].value
        print(f"from start to end  the loss rises by at most {barrier:.4f} above the straight line between its ends")
    digits.say_where(folder, options.logdir)


if __name__ == "__main__":
    main()
