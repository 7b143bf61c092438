"""Losses as sums over samples: the parts that add up to the user's own value for any partition into batches.

Sample i gives a sum sᵢ and a count cᵢ; the loss is Σs/Σc, or Σs where the user's loss has `reduction="sum"`. The
counts are the documented denominators of torch's mean reductions.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core.errors import DataError

LOSS = "loss"
"""The name of the loss among the quantities of a point."""


@dataclass(frozen=True)
class LossSum:
    """What a loss may return in place of a mean: the sum over the batch and what it is to be divided by.

    Both are scalars, or of shape (n,) with one entry a sample, which also gives standard errors over samples.
    """

    sum: Tensor
    count: Tensor | float


@dataclass(frozen=True, kw_only=True)
class SampleTerms:
    """Sums and counts of the samples of one batch, both of shape (n,). One entry may stand for a whole batch."""

    sums: Tensor
    counts: Tensor


@dataclass(frozen=True, kw_only=True)
class LossForm:
    """How the user's loss is evaluated.

    `terms(output, target)` for the losses of torch.nn; None where only the loss's own value is to be had.
    `module` is that loss as a module, whose tensors `terms` reads. `is_total`: the loss is Σs, not Σs/Σc.
    """

    module: nn.Module | None = None
    terms: Callable[[Any, Any], SampleTerms] | None = None
    is_total: bool = False

    def value(self, terms: SampleTerms) -> float:
        """The loss that the terms add up to."""
        total, count = (in_double(part).sum() for part in (terms.sums, terms.counts))
        return (total if self.is_total else total / count).item()


def in_double(tensor: Tensor) -> Tensor:
    """On the CPU: Metal has no float64."""
    return tensor.cpu().double()


def loss_form(loss_fn: Callable[..., Any]) -> LossForm:
    """The form of a loss function: torch's own are recognized by their exact type, or as functions, also in a partial.

    A subclass may compute anything, so it is taken as a function that returns its own value; so is a loss with
    reduction="none", which returns one loss a sample.
    """
    module = _as_module(loss_fn)
    if module is None or type(module) not in _COUNTS or module.reduction == "none":
        return LossForm()
    counts = _COUNTS[type(module)]
    # The copy shares the user's weights, so that they follow a later `.to(device)`; only `reduction` differs.
    unreduced = copy.copy(module)
    unreduced.reduction = "none"

    def terms(output: Any, target: Any) -> SampleTerms:
        losses = _widened(unreduced(output, target))
        _require_samples(losses)
        return SampleTerms(sums=_sum_by_sample(losses), counts=counts(module, output, target, losses))

    return LossForm(module=module, terms=terms, is_total=module.reduction == "sum")


def terms_of_value(value: Any, num_samples: int) -> SampleTerms:
    """The terms of what a user's own loss returned for a batch of `num_samples`.

    A scalar, or a tensor of one entry, is taken as a mean over the samples and gives one entry for the batch.

    Raises:
        DataError: the value is of no accepted form.
    """
    if isinstance(value, LossSum):
        if not isinstance(value.sum, Tensor):
            raise DataError(f"LossSum has a sum of type {type(value.sum).__name__}; give a tensor")
        sums = _widened(value.sum).reshape(-1)
        counts = torch.as_tensor(value.count, dtype=sums.dtype, device=sums.device).reshape(-1)
        if sums.shape != counts.shape:
            raise DataError(
                f"LossSum has a sum of shape {list(value.sum.shape)} and a count of {counts.numel()} entries; "
                "give two scalars, or one entry a sample in both"
            )
        return SampleTerms(sums=sums, counts=counts)
    if not isinstance(value, Tensor):
        raise DataError(
            f"the loss returned {type(value).__name__}; return a scalar mean, one loss a sample, "
            "or slicer_core.LossSum(sum, count)"
        )
    value = _widened(value)
    # A mean that kept a dimension is one number for the batch as well, and no sample's.
    if value.numel() == 1:
        return SampleTerms(sums=(value * num_samples).reshape(1), counts=value.new_full((1,), float(num_samples)))
    per_sample = value.numel() / value.shape[0] if value.shape[0] else 0.0
    return SampleTerms(sums=_sum_by_sample(value), counts=value.new_full((value.shape[0],), per_sample))


def _as_module(loss_fn: Callable[..., Any]) -> Any:
    """A loss module with the same meaning, or None."""
    if isinstance(loss_fn, nn.Module):
        return loss_fn
    function, options = loss_fn, {}
    if isinstance(loss_fn, functools.partial) and not loss_fn.args:
        function, options = loss_fn.func, dict(loss_fn.keywords)
    module = _FUNCTIONS.get(function) if isinstance(function, Hashable) else None
    # Not all that a function takes has its like in the module, for example the weights of `mse_loss`.
    if module is None or not set(options) <= set(inspect.signature(module).parameters) - {"size_average", "reduce"}:
        return None
    return module(**options)


def _widened(values: Tensor) -> Tensor:
    """In float32 at least: counts and sums over a batch soon leave the range and digits of the half precisions."""
    return (
        values.float() if values.dtype in (torch.float16, torch.bfloat16) or not values.is_floating_point() else values
    )


def _require_samples(losses: Tensor) -> None:
    if losses.ndim == 0:
        raise DataError(
            "the loss of a batch has no dimension of samples, so the data seems to hold single samples where batches "
            "are expected: give a Dataset, a DataLoader or a (X, y) pair of tensors"
        )


def _sum_by_sample(losses: Tensor) -> Tensor:
    return losses.reshape(losses.shape[0], -1).sum(dim=1) if losses.ndim > 1 else losses


def _count_elements(module: Any, output: Any, target: Any, losses: Tensor) -> Tensor:
    return losses.new_full((losses.shape[0],), float(losses[:1].numel()))


def _count_samples(module: Any, output: Any, target: Any, losses: Tensor) -> Tensor:
    """A mean over the first dimension alone, as `batchmean` of the Kullback-Leibler divergence."""
    return losses.new_ones(losses.shape[0])


def _count_divergence(module: Any, output: Any, target: Any, losses: Tensor) -> Tensor:
    count = _count_samples if module.reduction == "batchmean" else _count_elements
    return count(module, output, target, losses)


def _count_classes(module: Any, output: Any, target: Any, losses: Tensor) -> Tensor:
    """Class weights of the targets that count; N positions where targets are class probabilities."""
    if target.is_floating_point():
        return _count_elements(module, output, target, losses)
    counted = target != module.ignore_index
    if module.weight is None:
        weights = counted.to(losses.dtype)
    else:
        # torch takes 8 bits for a mask.
        classes = target.masked_fill(~counted, 0).long()
        weights = module.weight.to(losses.dtype)[classes] * counted
    return _sum_by_sample(weights)


_COUNTS: Mapping[type, Callable[[Any, Any, Any, Tensor], Tensor]] = {
    nn.CrossEntropyLoss: _count_classes,
    nn.NLLLoss: _count_classes,
    nn.KLDivLoss: _count_divergence,
    nn.MSELoss: _count_elements,
    nn.L1Loss: _count_elements,
    nn.SmoothL1Loss: _count_elements,
    nn.HuberLoss: _count_elements,
    nn.BCELoss: _count_elements,
    nn.BCEWithLogitsLoss: _count_elements,
    nn.PoissonNLLLoss: _count_elements,
    nn.SoftMarginLoss: _count_elements,
    nn.HingeEmbeddingLoss: _count_elements,
    nn.MultiLabelMarginLoss: _count_elements,
    nn.MultiLabelSoftMarginLoss: _count_elements,
    nn.MultiMarginLoss: _count_elements,
}

_FUNCTIONS: Mapping[Any, type] = {
    F.cross_entropy: nn.CrossEntropyLoss,
    F.nll_loss: nn.NLLLoss,
    F.kl_div: nn.KLDivLoss,
    F.mse_loss: nn.MSELoss,
    F.l1_loss: nn.L1Loss,
    F.smooth_l1_loss: nn.SmoothL1Loss,
    F.huber_loss: nn.HuberLoss,
    F.binary_cross_entropy: nn.BCELoss,
    F.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    F.soft_margin_loss: nn.SoftMarginLoss,
}
