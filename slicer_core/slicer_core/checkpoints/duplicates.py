"""Checkpoints that are there twice: a `last` that equals another one is the same, else a step belongs to one."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from slicer_core.checkpoints.checkpoint import Checkpoint
from slicer_core.checkpoints.steps import step_from_name
from slicer_core.errors import CheckpointError
from slicer_core.hashing import bytes_digest

_LAST = re.compile(r"last|latest|best|final|current|newest", re.IGNORECASE)


def without_duplicates(
    known: Sequence[Checkpoint], unknown: Sequence[Checkpoint]
) -> tuple[list[Checkpoint], dict[Path, Path]]:
    """Of `known`, one for each step, and the path of each other one with the path of the one whose weights it has.

    Only the tensors are compared, since trainers save other things beside them at each saving.

    Raises:
        CheckpointError: weights of one step differ, or those of an `unknown` step are nowhere else.
    """
    digests: dict[Path, str] = {}

    def digest(checkpoint: Checkpoint) -> str:
        if checkpoint.path not in digests:
            try:
                digests[checkpoint.path] = weights_digest(checkpoint)
            except CheckpointError:
                # What can't be read equals nothing else.
                digests[checkpoint.path] = f"unreadable: {checkpoint.path}"
        return digests[checkpoint.path]

    by_step: dict[int, list[Checkpoint]] = defaultdict(list)
    for checkpoint in sorted(known, key=_rank):
        by_step[checkpoint.step].append(checkpoint)
    kept, same, twice = [], {}, []
    for step, (first, *others) in sorted(by_step.items()):
        kept.append(first)
        same |= {other.path: first.path for other in others if digest(other) == digest(first)}
        if any(other.path not in same for other in others):
            twice.append(f"{step}: {_listed([checkpoint.path for checkpoint in by_step[step]])}")
    if twice:
        raise CheckpointError(
            f"steps are there twice, with other weights; keep one of each, or say which is which with --step-map. "
            f"{'; '.join(twice)}"
        )
    nowhere = []
    for checkpoint in unknown:
        shapes = checkpoint.contents().tensors
        alike = [other for other in kept if other.contents().tensors == shapes]
        equal = [other for other in alike if digest(other) == digest(checkpoint)]
        if equal:
            same[checkpoint.path] = equal[-1].path
        else:
            nowhere.append(checkpoint.path)
    if nowhere:
        raise CheckpointError(
            f"the step of {len(nowhere)} of {len(known) + len(unknown)} checkpoints is unknown: {_listed(nowhere)}. "
            f"Say it with --step-map, as in --step-map {nowhere[0].name}=500 or --step-map 'net_{{step}}.pt', put it "
            "into the name, as in step-500.safetensors, or save it as `step` in the file"
        )
    return kept, same


def weights_digest(checkpoint: Checkpoint) -> str:
    """A hash of the names and values of a checkpoint's tensors.

    Raises:
        CheckpointError: it can't be read.
    """
    import torch

    from slicer_core.parameters import row_blocks, rows_of, shapes_of

    whole = hashlib.blake2b(digest_size=16)
    tensors = checkpoint.open()
    for name, like in sorted(shapes_of(tensors).items()):
        whole.update(f"{name}\0{like.dtype}\0{list(like.shape)}\n".encode("utf-8", "surrogatepass"))
        for start, stop in row_blocks(like):
            rows = rows_of(tensors, name, start, stop).detach().contiguous().reshape(-1)
            whole.update(bytes_digest(rows.view(torch.uint8).numpy().data))
    return whole.hexdigest()


def _rank(checkpoint: Checkpoint) -> tuple[bool, bool, str]:
    """The one that is named after its step comes first, those that are named after their place in time last."""
    name = checkpoint.path.name
    return _LAST.search(name) is not None, step_from_name(checkpoint.path)[0] is None, name


def _listed(paths: Sequence[Path], shown: int = 5) -> str:
    rest = f" and {len(paths) - shown} more" if len(paths) > shown else ""
    return ", ".join(path.name for path in sorted(paths)[:shown]) + rest
