"""The loss of a split and its gradient at any point, by backward passes over all batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slicer_core.errors import DataError
from slicer_core.evaluate.named import refuse_other_parameters
from slicer_core.evaluate.objective import REDUCED, Objective
from slicer_core.evaluate.recurrent import differentiable_recurrence
from slicer_core.evaluate.weight_decay import WeightDecay
from slicer_core.measures.surroundings import Surroundings
from slicer_core.parameters import NamedTensors
from slicer_core.subject import LOSS, Batch, SampleTerms, SplitData, cast_batch, copied, user_code


@dataclass(frozen=True, kw_only=True)
class GradientAt:
    """The loss, and its gradient by the names of the parameters that are not frozen, in the evaluation's dtype."""

    loss: float
    gradient: dict[str, Tensor]


class LossGradient:
    """Gradients of the loss that a slice shows, weight decay included, over all samples of one split, or of `data`.

    The model runs as the slice's points do: in eval mode, with the center's buffers. In half precision gradients
    underflow, so they are taken in float32 there.
    """

    def __init__(self, around: Surroundings, data: SplitData | None = None) -> None:
        self._around = around
        self._data = data or around.data
        dtype = around.settings.dtype
        self._dtype = torch.float32 if dtype in REDUCED else dtype
        self.objective = Objective(around.wrapper, self._dtype)
        self.names = tuple(around.wrapper.varying_names())
        self.center = {name: self.objective.cast(around.state[name]) for name in around.state}
        self._decay = WeightDecay.of(around.wrapper.model, around.settings.weight_decay)

    def at(self, moved: NamedTensors) -> GradientAt:
        """At the point whose tensors of these names, buffers too, are `moved`, the others being the center's.

        Raises:
            DataError: the loss has no gradient.
            UserCodeError: the model or the loss raised.
        """
        leaves = {name: nn.Parameter(moved.get(name, self.center[name]).detach().clone()) for name in self.names}
        total, count = 0.0, 0.0
        gradient = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
        wrapper = self._around.wrapper
        with wrapper.evaluating(), torch.enable_grad(), differentiable_recurrence(wrapper.model):
            refuse_other_parameters(wrapper, self._data)
            for batch in self._batches():
                # A forward pass may write to buffers, which have to be the center's at the next one.
                buffers = {
                    name: moved.get(name, tensor).clone() for name, tensor in self.center.items() if name not in leaves
                }

                def differentiated(batch: Batch = batch) -> tuple[SampleTerms, Sequence[Tensor | None]]:
                    with user_code("evaluating the loss"):
                        found = wrapper.sample_terms(batch)[LOSS]
                    summed = found.sums.sum()
                    if not summed.requires_grad:
                        raise DataError(
                            "the loss has no gradient at the parameters (is it computed under no_grad, or on detached "
                            "tensors?), which this measure needs: leave the measure out"
                        )
                    with user_code("differentiating the loss"):
                        return found, torch.autograd.grad(summed, list(leaves.values()), allow_unused=True)

                # Backward too: a model that checkpoints its activations runs again there.
                found, parts = self.objective.holding({**buffers, **leaves}, differentiated)
                for name, part in zip(leaves, parts, strict=True):
                    if part is not None:
                        gradient[name] += part
                total += float(found.sums.detach().sum().cpu().double())
                count += float(found.counts.cpu().double().sum())
                # Lets a stop through between batches.
                self._around.advance(0.0)
        scale = 1.0 if wrapper.form.is_total else 1.0 / count if count else float("nan")
        loss = total * scale
        point = {name: leaf.detach() for name, leaf in leaves.items()}
        if self._decay.strength:
            loss += self._decay.at({**self.center, **point})
        return GradientAt(
            loss=loss,
            gradient={
                name: part * scale + (self._decay.strength * point[name] if self._decay.strength else 0.0)
                for name, part in gradient.items()
            },
        )

    def recompute_batches(self) -> Iterator[Batch]:
        """The batches on which BatchNorm's statistics are estimated anew: all of the first split."""
        wrapper = self._around.wrapper
        return self._cast(wrapper.split(wrapper.splits[0], self._around.settings.batch_size))

    def _batches(self) -> Iterator[Batch]:
        return self._cast(self._data)

    def _cast(self, data: SplitData) -> Iterator[Batch]:
        for batch in data.batches():
            cast = cast_batch(batch, self._around.wrapper.device, self._dtype)
            yield Batch(data=copied(cast.data), num_samples=cast.num_samples)
