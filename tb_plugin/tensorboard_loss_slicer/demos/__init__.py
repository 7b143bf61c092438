"""Real trainings on the handwritten digits that log slices as they go: `python -m tensorboard_loss_slicer.demos.NAME`.

The table is what `loss-slicer demo` lists; nothing of a demo is imported before it runs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A row: `module` has `main(arguments)`, and `python -m` runs it."""

    module: str
    summary: str


DEMOS = {
    name: Demo(module=f"tensorboard_loss_slicer.demos.demo_{name}", summary=summary)
    for name, summary in (
        ("linear_interpolation", "lines from the network in training to random ones, and from its start to its end"),
        ("axis_parallel", "one parameter at a time: pixels, the largest weights, and some of each layer"),
        ("hyperparameter_tuning", "learning rates side by side: the plane around each network as it trains"),
        ("multiple_runs", "optimizers side by side, their checkpoints sliced afterwards, and lines between them"),
    )
}

__all__ = ["DEMOS", "Demo"]
