"""Whether stored slices are of another training than the one whose checkpoints lie in the folder now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slicer_core.job.prepare import PreparedJob
from slicer_core.job.prepared_source import PreparedSource
from slicer_core.slices import parse_header
from slicer_core.store import StoredSlice


def is_of_other_training(stored: Sequence[StoredSlice], prepared: PreparedJob, source: PreparedSource) -> bool:
    """A step that both have tells; without one, the folder that the checkpoints lay in."""
    by_step = {checkpoint.step: checkpoint for checkpoint in source.all_checkpoints}
    shared = [there for there in stored if there.step in by_step]
    if shared:
        return any(prepared.fingerprint(by_step[there.step]) != there.checkpoint for there in shared)
    folder = by_step[min(by_step)].path.parent.resolve()
    return any(Path(_checkpoint_path(there)).parent.resolve() != folder for there in stored)


def _checkpoint_path(stored: StoredSlice) -> str:
    checkpoint = parse_header(stored.blobs[0]).get("checkpoint") or {}
    return str(checkpoint.get("path", ""))
