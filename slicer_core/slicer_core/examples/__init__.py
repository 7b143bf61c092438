"""Real data small enough to ship, for demos and first tries. Networks trained on it are in `checkpoints_examples/`."""

from slicer_core.examples.digits import load_digits

__all__ = ["load_digits"]
