"""Whether the user's loss is what slices need: a sum over samples, the same at each call, in eval mode."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slicer_core.errors import DataError
from slicer_core.subject.data import Batch, copied
from slicer_core.subject.float32 import TF32_EPS
from slicer_core.subject.halves import other_halves, split_halves
from slicer_core.subject.losses import LOSS, SampleTerms, in_double

if TYPE_CHECKING:
    from slicer_core.subject.wrapper import ModelWrapper

# Two halves of a batch, each reduced in float32, agree with the whole to about this.
_RELATIVE = 1e-4
_ABSOLUTE = 1e-6


class LossCheck:
    """Checks the loss of a wrapper on batches, with the tensors that the model holds now.

    `widened`: a model that runs in half precision gives its output to the loss in float32.
    """

    def __init__(self, wrapper: ModelWrapper, *, widened: bool = False) -> None:
        self._wrapper = wrapper
        self._widened = widened
        self.pass_seconds: float | None = None
        """What the user's own loss of the batch that was checked last took, in two halves; None where not measured."""

    def batch(self, batch: Batch, terms: SampleTerms, *, spare: Batch | None = None) -> None:
        """Holds the loss terms of a batch against the user's own value of it.

        `spare` has the same values, and may be written to.

        Raises:
            DataError: they differ, the loss is random or couples its samples, or evaluation left eval mode.
        """
        self.pass_seconds = None
        if self._holds_by_halves(batch if spare is None else spare, terms, is_spare=spare is not None):
            return
        before = self._random_state()
        whole = self._wrapper.own_value(batch, widened=self._widened)
        drew = not torch.equal(before, self._random_state())
        if any(module.training for module in self._wrapper.model.modules()):
            raise DataError(
                "the loss put the model into train mode, where dropout and BatchNorm make its value depend on chance "
                "and on the batch: leave the mode alone in batch_loss"
            )
        ours = self._value(terms)
        # In half precision, the user's own mean over a large batch may be far off or overflow, where ours is not.
        is_precise = self._precision() <= _RELATIVE
        is_ours = _close(ours, whole, abs(whole))
        # Two passes that agree have shown that the loss repeats.
        if drew or not is_precise or not is_ours:
            self._check_repeats(batch, whole)
        if is_precise and not is_ours:
            raise DataError(f"the loss of a batch is {whole:.8g}, but its samples add up to {ours:.8g}")
        self.halves(batch, terms)

    def _holds_by_halves(self, batch: Batch, terms: SampleTerms, *, is_spare: bool) -> bool:
        """Whether the user's own loss of each half is what its samples add up to in the whole batch.

        That is all there is to check, in one pass. False says nothing yet.
        """
        count = batch.num_samples
        is_by_sample = terms.sums.numel() == terms.counts.numel() == count
        if count < 2 or not is_by_sample or self._wrapper.batch_coupled or self._precision() > _RELATIVE:
            return False
        before, begun, first = self._random_state(), time.perf_counter(), 0
        try:
            for half in split_halves(batch.data, count):
                own = slice(first, first + half.num_samples)
                value = self._wrapper.own_value(half, widened=self._widened, is_spare=is_spare)
                ours = self._value(SampleTerms(sums=terms.sums[own], counts=terms.counts[own]))
                if not _close(ours, value, abs(value)):
                    return False
                first += half.num_samples
        except Exception:  # noqa: BLE001 - the user's code, on what may be no batch
            return False
        self.pass_seconds = time.perf_counter() - begun
        is_in_eval_mode = not any(module.training for module in self._wrapper.model.modules())
        return is_in_eval_mode and torch.equal(before, self._random_state())

    def halves(self, batch: Batch, terms: SampleTerms | None = None) -> None:
        """Holds the loss of a batch against that of its two halves; a known loss on data that can't be cut passes.

        `terms`: those of the whole batch, where they are known.

        Raises:
            DataError: they differ, so that the loss is no mean over samples or the model couples them.
        """
        if self._wrapper.batch_coupled:
            return
        whole = self._terms(batch) if terms is None else terms
        if batch.num_samples < 2:
            self._check_count(batch, whole)
            return
        is_plain_mean = self._wrapper.form.terms is None and whole.sums.numel() == 1
        halves = split_halves(batch.data, batch.num_samples)
        try:
            found = [self._terms(half) for half in halves]
        except Exception as error:
            if not is_plain_mean:
                return
            raise DataError(
                f"the loss of a batch is a scalar and fails on half of the batch ({type(error).__name__}: {error}), so "
                "whether it is a mean over samples is unknown: return one loss a sample, or "
                "slicer_core.LossSum(sum, count)"
            ) from error
        together = self._value(
            SampleTerms(
                sums=torch.cat([in_double(term.sums) for term in found]),
                counts=torch.cat([in_double(term.counts) for term in found]),
            )
        )
        expected = self._value(whole)
        scale = max(abs(value) for value in (expected, *map(self._value, found)))
        if _close(together, expected, scale, self._precision()):
            if all(self._value(term) == expected for term in found):
                self._check_count(batch, whole)
            return
        raise DataError(
            f"the loss of a batch is {expected:.8g}, but its two halves give {together:.8g}: "
            + (
                "it is not a mean over samples. Return slicer_core.LossSum(sum, count) if it is a sum over another "
                "count; if it couples the samples of a batch, say so with batch_coupled=True (--batch-coupled)"
                if is_plain_mean
                else "the model or the loss couples the samples of a batch, so its value belongs to this partition "
                "into batches. Say so with batch_coupled=True (--batch-coupled), or make it independent of the batch "
                "(a LossSum has to count what it sums)"
            )
        )

    def _check_count(self, batch: Batch, terms: SampleTerms) -> None:
        """Of a loss that does not depend on what is taken for the samples: that it is no mean over something else."""
        # A LossSum has a count of its own.
        if self._wrapper.form.terms is not None or terms.counts.tolist() != [batch.num_samples]:
            return
        halves, whole = other_halves(batch), self._value(terms)
        try:
            found = [self._value(self._terms(half)) for half in halves]
        except Exception:  # noqa: BLE001 - the user's code, on what is then no batch
            return
        length = sum(half.num_samples for half in halves)
        together = sum(loss * half.num_samples / length for loss, half in zip(found, halves, strict=True))
        if any(loss != whole for loss in found) and _close(together, whole, max(map(abs, found)), self._precision()):
            raise DataError(
                f"the last tensor of a batch has {batch.num_samples} entries, which is to be its number of samples, "
                f"but its loss is a mean over the {length} entries of the others: put one with an entry a sample last, "
                "or return slicer_core.LossSum(sum, count)"
            )

    def _check_repeats(self, batch: Batch, whole: float) -> None:
        before = self._random_state()
        again = self._wrapper.own_value(batch, widened=self._widened)
        drew = not torch.equal(before, self._random_state())
        if (drew and again != whole and again == again) or not _close(again, whole, abs(whole), self._precision()):
            raise DataError(
                f"the loss of the same batch at the same parameters is {whole:.8g} and then {again:.8g}"
                f"{', since it draws random numbers' if drew else ''}: in eval mode it may draw only from a "
                "torch.Generator that is seeded at each call, and may not depend on earlier calls"
            )

    def _random_state(self) -> Tensor:
        device = self._wrapper.device
        return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()

    def _terms(self, batch: Batch) -> SampleTerms:
        own = Batch(data=copied(batch.data), num_samples=batch.num_samples)
        return self._wrapper.sample_terms(own, widened=self._widened)[LOSS]

    def _value(self, terms: SampleTerms) -> float:
        return self._wrapper.form.value(terms)

    def _precision(self) -> float:
        """Relative rounding to allow for in a loss: that of the coarsest floating tensor of the model."""
        kinds = {tensor.dtype for tensor in self._wrapper.state().values() if tensor.is_floating_point()}
        eps = [torch.finfo(kind).eps for kind in kinds] + ([TF32_EPS] if self._wrapper.tf32 else [])
        return 8 * max(eps, default=0.0)


def _close(left: float, right: float, scale: float, precision: float = 0.0) -> bool:
    if not (math.isfinite(left) and math.isfinite(right)):
        return math.isfinite(left) == math.isfinite(right)
    return abs(left - right) <= max(_RELATIVE, precision) * scale + _ABSOLUTE
