"""`log_slice`: put a slice into a TensorBoard log from a training script. One path for every form of slice data."""

from __future__ import annotations

import operator
import time
from typing import TYPE_CHECKING, Any

from slicer_core.errors import UsageError
from slicer_core.slices import encode_slice, slice_from_plain
from tensorboard_loss_slicer import debug, writers
from tensorboard_loss_slicer.protos import Event, slice_summary
from tensorboard_loss_slicer.tags import TagTypeError
from tensorboard_loss_slicer.writers import LossSlicerWarning, Writer, set_writer

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from slicer_core.slices import Slice

__all__ = ["LossSlicerWarning", "TagTypeError", "log_slice", "set_writer", "slice_summary"]


def log_slice(
    name: str,
    slice_data: Slice | Mapping[str, Any],
    step: int | None = None,
    description: str | None = None,
    slice_type: str | None = None,
    writer: Writer | None = None,
    logdir: str | os.PathLike[str] | None = None,
) -> None:
    """Write a slice under the tag `name`, and flush it.

    Args:
        name: the tag. All slices of a tag have one type.
        slice_data: a `Slice`, the dictionary of `Slice.to_dict()`, `{'samples': [(alpha, loss), ...], 'start_loss',
            'end_loss'}` or `{'slices': [{'parameter_index', 'parameter_name', 'layer_name', 'samples'}, ...]}`.
        step: the training step; None takes the next integer of this writer and tag, from 0.
        description: a text shown with the tag; TensorBoard keeps that of the tag's first slice.
        slice_type: the type, where it is not the one that the data's form implies.
        writer: a torch SummaryWriter (reopened where it is closed) or a TensorBoard EventFileWriter.
        logdir: instead of `writer`, a directory, which gets an event file of this process.

    Without `writer` and `logdir` the slice goes to the writer of `set_writer`, else to the SummaryWriter of this
    process that was made last.

    Warns:
        LossSlicerWarning: several SummaryWriters live, and none was chosen.

    Raises:
        FormatError: the data has none of the forms above, or its geometry does not go with `slice_type`.
        TagTypeError: a ValueError; the tag has slices of another type in this writer.
        UsageError: there is no writer, or `name`, `step` or `writer` is not what it should be.
        SlicerError: the event file can't be written.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"name is the tag of the slice, a text that is not empty, found {name!r}")
    chosen_step = None if step is None else _whole(step)
    data = slice_from_plain(slice_data, slice_type)
    blobs = encode_slice(data)
    if debug.enabled():
        debug.check_round_trip(data, blobs)
    with writers.lock:
        target = writers.find_writer(writer, logdir, stacklevel=2)
        book = writers.book(target)
        book.check(name, data)
        if chosen_step is None:
            chosen_step = book.next_step(name)
        summary = slice_summary(name, data, description, blobs=blobs)
        writers.write_event(target, Event(wall_time=time.time(), step=chosen_step, summary=summary))
        book.add(name, chosen_step, data)
    debug.log(
        "logged slice %r: step %d, type %s, geometry %s, shape %s, %d arrays, %d bytes, to %s",
        name,
        chosen_step,
        data.slice_type,
        data.geometry,
        list(data.shape),
        len(data.arrays),
        sum(map(len, blobs)),
        writers.log_dir(target),
    )


def _whole(step: Any) -> int:
    """Whole numbers of any library."""
    try:
        return operator.index(step)
    except TypeError as error:
        raise UsageError(f"step is a whole number or None, found {step!r}") from error
