"""The loss of each class by itself, as quantities beside the loss of all samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slicer_core.errors import UsageError
from slicer_core.subject.data import Batch
from slicer_core.subject.losses import SampleTerms

if TYPE_CHECKING:
    from slicer_core.subject.wrapper import ModelWrapper

MAX_CLASSES = 100


def class_name(label: int) -> str:
    """The quantity's name: `class_3`."""
    return f"class_{label}"


def class_terms(terms: SampleTerms, target: Tensor, labels: Sequence[int]) -> dict[str, SampleTerms]:
    """The terms of the loss for the samples of each class alone; those of others are 0, whatever their loss is.

    So a class's value is Σs/Σc over its samples, with the same weights as in the loss of all.

    Raises:
        UsageError: the loss is not one number a sample.
    """
    found: dict[str, SampleTerms] = {}
    if labels and terms.sums.shape != target.shape:
        raise UsageError("--per-class needs one loss a sample, and the loss is one number for a batch")
    for label in labels:
        own = target == label
        found[class_name(label)] = SampleTerms(
            sums=torch.where(own, terms.sums, torch.zeros_like(terms.sums)),
            counts=torch.where(own, terms.counts, torch.zeros_like(terms.counts)),
        )
    return found


def find_classes(wrapper: ModelWrapper, splits: Sequence[str], batch_size: int | None = None) -> tuple[int, ...]:
    """The classes among the targets of the splits, ascending; `wrapper.classes` takes them.

    Raises:
        UsageError: the targets are not one class a sample, or the classes are too many.
    """
    if wrapper.loss_fn is None or wrapper.batch_coupled:
        raise UsageError("--per-class needs a loss_fn(output, target) with one loss a sample")
    ignored = getattr(wrapper.form.module, "ignore_index", None)
    labels: set[int] = set()
    for name in splits:
        for batch in wrapper.split(name, batch_size).batches():
            labels |= _labels_of(batch)
    labels -= {ignored}
    if len(labels) > MAX_CLASSES:
        raise UsageError(f"--per-class is for {MAX_CLASSES} classes or fewer, and the targets have {len(labels)}")
    return tuple(sorted(labels))


def _labels_of(batch: Batch) -> set[int]:
    target = batch.data[-1] if isinstance(batch.data, (tuple, list)) else batch.data
    if not isinstance(target, Tensor) or target.is_floating_point() or target.shape != (batch.num_samples,):
        kind = type(target).__name__
        if isinstance(target, Tensor):
            kind = f"{str(target.dtype).removeprefix('torch.')} of shape {list(target.shape)}"
        raise UsageError(f"--per-class needs one class a sample, as a whole number; the targets of a batch are {kind}")
    return {int(label) for label in torch.unique(target).tolist()}
