"""One parameter at a time: pixels of the first layer, the largest weights, and some of each layer.

    python -m tensorboard_loss_slicer.demos.demo_axis_parallel
    tensorboard --logdir=demo_logs

`--help` tells the options.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.tensorboard import SummaryWriter

from slicer_core import AxisParallelSlicer
from tensorboard_loss_slicer.demos import digits
from tensorboard_loss_slicer.summary_v2 import log_slice

SELECTIONS: dict[str, tuple[list[int] | str, str]] = {
    "first_pixels": (list(range(8)), "What the first hidden unit takes from the first eight pixels."),
    "largest": ("largest:8", "The eight weights of largest absolute value."),
    "random": ("random:8", "Eight parameters drawn at random, the same at each epoch."),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains one network, and logs three families of curves every few epochs."""
    options = digits.arguments_of(__doc__, epochs=30, arguments=arguments)
    wrapper = digits.build(options.seed)
    slicer = AxisParallelSlicer(wrapper, progress=False)
    optimizer = torch.optim.Adam(wrapper.model.parameters(), lr=3e-3)
    folder = digits.new_folder(options.logdir, "axis_parallel")

    with SummaryWriter(str(folder)) as writer:
        epochs_to_log = digits.logged_epochs(options.epochs, 4)
        for epoch in digits.train(wrapper, optimizer, epochs=options.epochs, seed=options.seed, writer=writer):
            if epoch not in epochs_to_log:
                continue
            for tag, (parameters, text) in SELECTIONS.items():
                curves = slicer.slice(bounds=(-2.0, 2.0), n_samples=31, params_to_slice=parameters, seed=options.seed)
                log_slice(tag, curves, step=epoch, description=text, writer=writer)
                rise = curves.measures["largest_increase"].value
                print(f"epoch {epoch:3}  {tag:12}  {len(curves.curves)} parameters raise the loss by up to {rise:.3f}")
    digits.say_where(folder, options.logdir)


if __name__ == "__main__":
    main()
