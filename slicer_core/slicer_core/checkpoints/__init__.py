"""Find and read checkpoints: what a trainer left on disk, without running anything that is in it."""

from slicer_core.checkpoints.adam import AdamMoments, adam_moments, optimizer_files
from slicer_core.checkpoints.checkpoint import (
    Checkpoint,
    CheckpointFormat,
    Contents,
    ReadOptions,
    TensorInfo,
    file_hash,
)
from slicer_core.checkpoints.find import Source, find_sources, open_checkpoint
from slicer_core.checkpoints.formats import FORMATS, recognize
from slicer_core.checkpoints.safetensors_format import open_safetensors, write_safetensors
from slicer_core.checkpoints.selection import select_steps
from slicer_core.checkpoints.steps import StepMap

__all__ = [
    "FORMATS",
    "AdamMoments",
    "Checkpoint",
    "CheckpointFormat",
    "Contents",
    "ReadOptions",
    "Source",
    "StepMap",
    "TensorInfo",
    "adam_moments",
    "file_hash",
    "find_sources",
    "open_checkpoint",
    "open_safetensors",
    "optimizer_files",
    "recognize",
    "select_steps",
    "write_safetensors",
]
