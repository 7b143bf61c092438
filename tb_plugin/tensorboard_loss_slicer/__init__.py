"""Slices of the loss surface in TensorBoard: logging them, their event files, and the plugin that shows them.

Names are imported when first used, so that TensorBoard's start costs nothing; none of them needs torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorboard_loss_slicer.event_files import EventFileLog, SliceEvent, read_events
    from tensorboard_loss_slicer.summary_v2 import log_slice, slice_summary
    from tensorboard_loss_slicer.tags import TagTypeError
    from tensorboard_loss_slicer.writers import LossSlicerWarning, set_writer

_HOMES = {
    "EventFileLog": "tensorboard_loss_slicer.event_files",
    "LossSlicerWarning": "tensorboard_loss_slicer.writers",
    "SliceEvent": "tensorboard_loss_slicer.event_files",
    "TagTypeError": "tensorboard_loss_slicer.tags",
    "log_slice": "tensorboard_loss_slicer.summary_v2",
    "read_events": "tensorboard_loss_slicer.event_files",
    "set_writer": "tensorboard_loss_slicer.writers",
    "slice_summary": "tensorboard_loss_slicer.summary_v2",
}

__all__ = [
    "EventFileLog",
    "LossSlicerWarning",
    "SliceEvent",
    "TagTypeError",
    "log_slice",
    "read_events",
    "set_writer",
    "slice_summary",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
