"""Small batches put together: what a point costs once for each batch, its weights above all, it costs for fewer then.

A loop of one's own combines a point's weights once. Here batches are outside and points inside, so that a batch's
constant part is run once; where batches are small beside the weights, combining them would take most of the time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from slicer_core.evaluate.activations import bytes_a_sample
from slicer_core.evaluate.layout import is_splittable
from slicer_core.evaluate.objective import Objective, Terms
from slicer_core.evaluate.trace import batch_tensors
from slicer_core.evaluate.traces import traces_of
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch, ModelWrapper, SplitData, cast_batch
from slicer_core.subject.nesting import flatten, unflatten

# The largest activation of batches that are put together stays near the bytes of the weights that move, within these:
# a core's cache on a CPU, where smaller batches only cost calls, and what memory surely has.
_LEAST_BYTES = {"cpu": 5 * 2**18}
_LEAST_BYTES_ELSEWHERE = 16 * 2**20
_MOST_BYTES = 32 * 2**20
# Data in memory up to this size is put together once, other at each reading.
_KEPT_BYTES = 256 * 2**20
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
# Rounding of a sample's terms in a larger batch, relative to the largest of all.
_RELATIVE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Larger:
    """Data in larger batches, and the terms of the first of them at the center where they were needed to find out."""

    data: SplitData
    terms: Terms | None


def with_larger_batches(
    wrapper: ModelWrapper,
    data: SplitData,
    objective: Objective,
    state: NamedTensors,
    block: PointBlock,
    first: Batch,
    terms: Terms,
) -> Larger | None:
    """The same samples in the same order, in fewer batches; None where those are not small.

    `first` is the first batch as it is run, and `terms` what it gives at the center. Only batches of losses that are
    sums over samples, and whose first ones give the same terms together: what the model makes of a sample may depend on
    others in ways that its first batch did not show.
    """
    form = _form(first)
    if data.num_batches < 2 or form is None or not is_splittable(objective, first):
        return None
    moved = sum(tensor.nbytes for tensor in block.directions()[0].values())
    known, key = traces_of(wrapper, objective.dtype).larger, (form, first.num_samples, moved)
    together = None
    if key not in known:
        known[key] = _most_samples(objective, state, first, moved)
        if known[key] >= 2 * first.num_samples:
            together = _terms_together(objective, state, data, known[key], terms)
            if together is None:
                known[key] = 0
    most = known[key]
    if most < 2 * first.num_samples:
        return None
    count = _count(data, most)
    given = data.num_samples * _bytes_a_sample_given(first)
    if data.in_memory and given <= _KEPT_BYTES:
        kept = list(joined(data.batches(), count, most))
        return Larger(data=replace(data, batches=lambda: kept), terms=together)
    return Larger(data=replace(data, batches=lambda: joined(data.batches(), count, most)), terms=together)


def joined(batches: Iterable[Batch], count: int, most: int) -> Iterator[Batch]:
    """So many batches at a time as one, or fewer: of one form, and with at most so many samples together."""
    group: list[Batch] = []
    form = None
    for batch in batches:
        own = _form(batch)
        full = len(group) == count or sum(each.num_samples for each in group) + batch.num_samples > most
        if group and (full or own is None or own != form):
            yield _together(group)
            group = []
        group.append(batch)
        form = own
    if group:
        yield _together(group)


def _count(data: SplitData, most: int) -> int:
    """Batches in each: as many as fit, but in all alike."""
    fitting = max(1, most * data.num_batches // data.num_samples)
    return -(-data.num_batches // -(-data.num_batches // fitting))


def _most_samples(objective: Objective, state: NamedTensors, first: Batch, moved: int) -> int:
    least = _LEAST_BYTES.get(objective.device.type, _LEAST_BYTES_ELSEWHERE)
    target = min(max(moved, least), _MOST_BYTES)
    given = _bytes_a_sample_given(first)
    if 2 * first.num_samples * given > target:
        return 0
    size = bytes_a_sample(objective, state, first)
    return target // max(size, given) if size else 0


def _bytes_a_sample_given(batch: Batch) -> int:
    return -(-sum(tensor.nbytes for tensor in batch_tensors(batch)) // batch.num_samples)


def _terms_together(
    objective: Objective, state: NamedTensors, data: SplitData, most: int, first: Terms
) -> Terms | None:
    """The terms of the first batches that are put together; None where those are not what they give one by one."""
    count = _count(data, most)
    group = list(itertools.islice(data.batches(), count))
    together = next(joined(group, count, most))
    alone, found = [first], group[0].num_samples
    for batch in group[1:]:
        if found == together.num_samples:
            break
        found += batch.num_samples
        alone.append(objective.at_center(state, cast_batch(batch, objective.device, objective.dtype)))
    try:
        terms = objective.at_center(state, cast_batch(together, objective.device, objective.dtype))
    except Exception:  # noqa: BLE001 - a model that takes batches of one size alone, or memory
        return None
    agree = all(
        _close(torch.cat([getattr(each[name], part) for each in alone]), getattr(terms[name], part))
        for name in terms
        for part in ("sums", "counts")
    )
    return terms if agree else None


def _close(alone: Tensor, together: Tensor) -> bool:
    if alone.shape != together.shape or not torch.equal(alone.isfinite(), together.isfinite()):
        return False
    finite = alone.isfinite()
    left, right = alone[finite].double(), together[finite].double()
    return not left.numel() or (left - right).abs().max().item() <= _RELATIVE * left.abs().max().item()


def _form(batch: Batch) -> tuple[object, ...] | None:
    """All but the number of samples, which batches that are put together have in common; None of one that can't be."""
    leaves, structure = flatten(batch.data)
    described: list[object] = [repr(structure)]
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.ndim > 0 and leaf.shape[0] == batch.num_samples:
            described.append((leaf.dtype, leaf.device, leaf.shape[1:]))
        elif isinstance(leaf, _PLAIN):
            described.append((type(leaf), leaf))
        else:
            return None
    return tuple(described)


def _together(group: Sequence[Batch]) -> Batch:
    if len(group) == 1:
        return group[0]
    flat = [flatten(batch.data) for batch in group]
    leaves = [
        torch.cat([each[index] for each, _ in flat]) if isinstance(leaf, Tensor) else leaf
        for index, leaf in enumerate(flat[0][0])
    ]
    return Batch(data=unflatten(leaves, flat[0][1]), num_samples=sum(batch.num_samples for batch in group))
