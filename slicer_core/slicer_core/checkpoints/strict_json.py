"""JSON objects beside tensors: indices, states and configurations, of a bounded size and without a key twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slicer_core.checkpoints.shortage import memory_for
from slicer_core.errors import CheckpointError

_MAX_BYTES = 200_000_000


def parse_object(text: bytes) -> dict[str, Any]:
    """The object that a text holds.

    Raises:
        ValueError: it is no JSON, no object, nested too deeply, or has a name twice.
    """
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value


def read_object(path: Path) -> dict[str, Any]:
    """The object that a file holds.

    Raises:
        CheckpointError: it can't be read, or is not one.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is too large")
        with memory_for(path):
            return parse_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a file of one JSON object: {error}") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name is there twice")
    return names
