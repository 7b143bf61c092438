"""What is in the log: runs and tags, and the steps of a tag. Opens no slice."""

from __future__ import annotations

import math
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from slicer_core.choices import PREVIEW, is_preview
from slicer_core.slices import GEOMETRIES
from tensorboard_loss_slicer.metadata import parse_plugin_content
from tensorboard_loss_slicer.serving.caps import (
    MAX_DESCRIPTION_CHARACTERS,
    MAX_LIST_BYTES,
    MAX_PLUGIN_CONTENT_BYTES,
    MAX_TAGS,
)
from tensorboard_loss_slicer.serving.request_error import RequestError, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorboard.data.provider import BlobSequenceTimeSeries

    from tensorboard_loss_slicer.serving.slice_log import SliceLog

_OPEN_LESS = "start TensorBoard with --logdir on the folder of fewer runs"


def list_tags(log: SliceLog) -> dict[str, dict[str, dict[str, Any]]]:
    """Run -> tag -> `{slice_type, geometry, description, last_step, last_wall_time, num_arrays, problem}`.

    Tags of which nothing is left in the log are not among them, nor previews that whole slices have taken the place of.

    Raises:
        RequestError: 413 where there are too many tags, or their texts are too long; found before the list is made.
    """
    series = log.series()
    # TensorBoard has the tags in memory already, and reads any number of them: only the list made of them is bounded.
    count = sum(map(len, series.values()))
    if count > MAX_TAGS:
        raise RequestError(413, f"the log has {count} tags of slices, the cap is {MAX_TAGS}: {_OPEN_LESS}")
    size = 0
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for run, tags in sorted(series.items()):
        for tag, one in sorted(tags.items()):
            if not _has_slices(log, run, tag, tags):
                continue
            entry = _describe(one)
            size += sum(len(encode_basestring_ascii(text)) for text in (tag, entry["description"]))
            if size > MAX_LIST_BYTES:
                raise RequestError(
                    413, f"the names and descriptions of tags have above {MAX_LIST_BYTES} bytes: {_OPEN_LESS}"
                )
            found.setdefault(run, {})[tag] = entry
    return found


def _has_slices(log: SliceLog, run: str, tag: str, tags: Mapping[str, BlobSequenceTimeSeries]) -> bool:
    if tags[tag].max_step is None:
        return False
    if not is_preview(tag) or tag.removesuffix(PREVIEW) not in tags:
        return True
    try:
        return bool(log.slices(run, tag))
    except RequestError:
        # Listed, so that asking for it tells what is wrong.
        return True


def list_steps(log: SliceLog, run: str, tag: str) -> dict[str, Any]:
    """`{run, tag, steps, wall_times, num_arrays, limit, sampled}` of one tag, steps ascending.

    Raises:
        RequestError: there is no such run or tag.
    """
    slices = log.slices(run, tag)
    return {
        "run": run,
        "tag": tag,
        "steps": list(slices),
        "wall_times": [_finite(stored.wall_time) for stored in slices.values()],
        "num_arrays": [stored.num_arrays for stored in slices.values()],
        "limit": log.steps_kept,
        "sampled": 0 < log.steps_kept <= len(slices),
    }


def _describe(series: BlobSequenceTimeSeries) -> dict[str, Any]:
    content = series.plugin_content or b""
    fields = _parse(content) if len(content) <= MAX_PLUGIN_CONTENT_BYTES else {}
    slice_type, geometry = fields.get("slice_type"), fields.get("geometry")
    problem = None
    if not isinstance(slice_type, str) or not isinstance(geometry, str):
        problem = "the tag was not written by a version of Loss Slicer that this one can read"
        slice_type = geometry = None
    elif slice_type not in GEOMETRIES:
        problem = f"slice type {quoted(slice_type)} is not known to this version: update tensorboard-loss-slicer"
    elif geometry not in GEOMETRIES[slice_type]:
        problem = f"a slice of type {quoted(slice_type)} can't have geometry {quoted(geometry)}"
        geometry = None
    return {
        "slice_type": slice_type,
        "geometry": geometry,
        "description": _cut(series.description or ""),
        "last_step": series.max_step,
        "last_wall_time": _finite(series.max_wall_time),
        "num_arrays": max(0, (series.max_length or 0) - 1),
        "problem": problem,
    }


def _parse(content: bytes) -> dict[str, Any]:
    try:
        return parse_plugin_content(content)
    except ValueError:
        # Python refuses integers of thousands of digits with a plain ValueError.
        return {}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_DESCRIPTION_CHARACTERS else text[:MAX_DESCRIPTION_CHARACTERS] + "…"


def _finite(seconds: float | None) -> float | None:
    """An event's time is whatever its writer put there."""
    return seconds if seconds is not None and math.isfinite(seconds) else None
