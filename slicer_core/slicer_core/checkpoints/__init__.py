"""Find and read checkpoints: what a trainer left on disk, without running anything that is in it."""

from slicer_core.checkpoints.checkpoint import Checkpoint, CheckpointFormat, Contents, TensorInfo
from slicer_core.checkpoints.find import FORMATS, Source, find_sources, open_checkpoint, recognize
from slicer_core.checkpoints.safetensors_format import open_safetensors, write_safetensors
from slicer_core.checkpoints.selection import select_steps

__all__ = [
    "FORMATS",
    "Checkpoint",
    "CheckpointFormat",
    "Contents",
    "Source",
    "TensorInfo",
    "find_sources",
    "open_checkpoint",
    "open_safetensors",
    "recognize",
    "select_steps",
    "write_safetensors",
]
