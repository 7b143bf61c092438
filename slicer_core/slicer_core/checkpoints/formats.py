"""The table of formats, and the one that a file or folder is of."""

from __future__ import annotations

from pathlib import Path

from slicer_core.checkpoints.checkpoint import CheckpointFormat
from slicer_core.checkpoints.distributed_format import DISTRIBUTED
from slicer_core.checkpoints.safetensors_format import SAFETENSORS
from slicer_core.checkpoints.sharded_format import SHARDED
from slicer_core.checkpoints.sniff import first_bytes
from slicer_core.checkpoints.torch_format import TORCH
from slicer_core.errors import CheckpointError

FORMATS: tuple[CheckpointFormat, ...] = (SAFETENSORS, TORCH, SHARDED, DISTRIBUTED)


def recognize(path: Path) -> CheckpointFormat:
    """The format whose content the first bytes show.

    Raises:
        CheckpointError: it is empty, can't be opened, or is of no known format.
    """
    first = first_bytes(path)
    for format_ in FORMATS:
        if format_.recognizes(path, first):
            return format_
    raise CheckpointError(
        f"{path} is of no known format: expected a safetensors file, a file of torch.save, the index of several such "
        "files, or a folder of torch.distributed.checkpoint"
    )
