"""Slices from a training loop that a library runs: one callback for each, in a module with the library's name.

    from tensorboard_loss_slicer.callbacks.lightning import LossLandscapeCallback
    from tensorboard_loss_slicer.callbacks.pytorch_lightning import LossLandscapeCallback
    from tensorboard_loss_slicer.callbacks.transformers import LossLandscapeCallback

The classes derive from the base class of their library, which alone is imported.
"""

from __future__ import annotations

from typing import NoReturn

_LIBRARIES = ("lightning", "pytorch_lightning", "transformers")


def __getattr__(name: str) -> NoReturn:
    if name == "LossLandscapeCallback":
        raise AttributeError(
            f"LossLandscapeCallback is one class for each library: import it from "
            f"{', '.join(f'{__name__}.{library}' for library in _LIBRARIES)}, by the trainer that you use"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
