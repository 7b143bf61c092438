"""The loss of a whole split at one point as something to differentiate: its terms batch by batch, and its gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from slicer_core.errors import DataError, ResourceError, UserCodeError
from slicer_core.evaluate.batchnorm import averaging, running_statistics
from slicer_core.evaluate.named import refuse_other_parameters
from slicer_core.evaluate.objective import Objective, Result
from slicer_core.evaluate.recurrent import differentiable_recurrence
from slicer_core.evaluate.settings import EvaluationSettings
from slicer_core.evaluate.shortage import is_shortage
from slicer_core.evaluate.weight_norm import composed_weight_norm
from slicer_core.parameters import NamedTensors
from slicer_core.subject import LOSS, Batch, ModelWrapper, SplitData, cast_batch, user_code


class DifferentiableLoss:
    """L(θ) = Σs/Σc over a split (Σs where the user's loss is a sum), plus ½λ‖θ‖², around points of parameter space.

    Σc is that of the whole split, so the terms of the batches add up to the user's own loss whatever the partition.
    The model is in eval mode and holds the point's buffers. Attention runs by its plain formula and recurrent layers
    without cuDNN, since the fused kernels have no second derivative.

    Args:
        wrapper: model, loss and data; left as it was.
        data: the split.
        state: every parameter and buffer at the first point.
        names: the parameters to differentiate by.
        settings: dtype (a reduced one counts as float32) and weight decay.
    """

    def __init__(
        self,
        wrapper: ModelWrapper,
        data: SplitData,
        state: NamedTensors,
        names: Sequence[str],
        *,
        settings: EvaluationSettings,
    ) -> None:
        self._wrapper = wrapper
        self._data = data
        self._objective = Objective(wrapper, _differentiable(settings.dtype))
        self._state = {name: self._objective.cast(state[name]) for name in state}
        self._weight_decay = settings.weight_decay
        self._decayed = [name for name, parameter in wrapper.model.named_parameters() if parameter.requires_grad]
        self._statistics = running_statistics(wrapper.model)
        self._examined = False
        self._count: float | None = None
        self.parameters = {name: nn.Parameter(self._state[name].clone()) for name in names}

    @property
    def num_batches(self) -> int:
        """Batches that one value, gradient or product takes."""
        return self._data.num_batches

    def move_to(self, point: NamedTensors) -> None:
        """Goes to a point, of which the tensors may be some of the parameters and buffers; the others stay."""
        for name, tensor in point.items():
            if name in self.parameters:
                self.parameters[name].data.copy_(tensor)
            else:
                # What is held may be the model's own.
                self._state[name] = self._objective.cast(tensor)

    def value(self) -> float:
        """L at the point."""
        total = 0.0
        with self.running(grad=False):
            for value in self.of_terms(lambda term: term.item()):
                total += value
        return total

    def gradient(self) -> tuple[float, dict[str, Tensor]]:
        """L and ∂L/∂θ at the point, by name; a parameter that the loss does not read has zeros."""
        value = 0.0

        def first(term: Tensor) -> Sequence[Tensor | None]:
            nonlocal value
            value += term.item()
            with user_code("differentiating the loss"):
                return gradients(term, list(self.parameters.values()))

        found = self.summed(first)
        return value, dict(zip(self.parameters, found, strict=True))

    def batch_gradient(self, batch: Batch, *, batch_statistics: bool = False) -> tuple[float, dict[str, Tensor]]:
        """The loss of one batch alone and its gradient, for the steps of a training.

        `batch_statistics`: BatchNorm takes those of the batch, as in train mode.
        """
        model = self._wrapper.model

        def first(sums: Tensor, counts: Tensor) -> tuple[float, Sequence[Tensor | None]]:
            loss = sums.sum() if self._wrapper.form.is_total else sums.sum() / counts.sum()
            with user_code("differentiating the loss"):
                return loss.item(), gradients(loss, list(self.parameters.values()))

        with self.running(grad=True), averaging(model) if batch_statistics else contextlib.nullcontext():
            value, found = self._of_batch(cast_batch(batch, self._wrapper.device, self._objective.dtype), first)
        return value, {
            name: torch.zeros_like(tensor.data) if gradient is None else gradient
            for (name, tensor), gradient in zip(self.parameters.items(), found, strict=True)
        }

    def summed(self, differentiate: Callable[[Tensor], Sequence[Tensor | None]]) -> list[Tensor]:
        """Σ over the terms of L of what `differentiate(term)` gives for each parameter (None: zeros)."""
        total = [torch.zeros_like(parameter.data) for parameter in self.parameters.values()]
        with self.running(grad=True):
            for parts in self.of_terms(differentiate):
                for held, found in zip(total, parts, strict=True):
                    if found is not None:
                        held += found
        return total

    def of_terms(self, use: Callable[[Tensor], Result]) -> Iterator[Result]:
        """`use(term)` of scalars that add up to L, one a batch and then the penalty. Only while `running`."""
        scale = self.scale
        for batch in self.batches():
            yield self._of_batch(batch, lambda sums, _: use(sums.sum() * scale))
        if self._weight_decay:
            # Of those that are not differentiated by, it is a constant.
            for name in self._decayed:
                tensor = self.parameters.get(name, self._state[name])
                yield use(tensor.square().sum() * (self._weight_decay / 2))

    @property
    def scale(self) -> float:
        """1/Σc of the whole split, or 1 where the loss is Σs. Only while `running`, at first."""
        return 1.0 if self._wrapper.form.is_total else 1.0 / self._total_count()

    def decay_by_name(self) -> dict[str, float]:
        """λ for the parameters that weight decay acts on, zero for the others."""
        return {name: self._weight_decay if name in self._decayed else 0.0 for name in self.parameters}

    def holding(self, function: Callable[[], Result]) -> Result:
        """The result of `function()` while the model holds the point, its parameters as leaves of a graph."""
        held = {**self._state, **self.parameters}
        # What a pass writes it writes to copies; in train mode BatchNorm writes too.
        for name in self._objective.written.union(self._statistics):
            held[name] = held[name].detach().clone()
        return self._objective.holding(held, function)

    def batches(self) -> Iterator[Batch]:
        """The split's batches in the dtype that is differentiated in."""
        return (cast_batch(batch, self._wrapper.device, self._objective.dtype) for batch in self._data.batches())

    def _of_batch(self, batch: Batch, use: Callable[[Tensor, Tensor], Result]) -> Result:
        """`use(sums, counts)` of the batch's terms, while the model holds the point.

        A model that checkpoints its activations runs again in a backward pass, and would else do so at its own weights.
        """

        def held() -> Result:
            with user_code("evaluating the loss"):
                terms = self._wrapper.sample_terms(batch)[LOSS]
            if terms.counts.requires_grad:
                raise DataError(
                    "the count that the loss is divided by depends on the parameters, so its curvature is not that of "
                    "a mean: return a LossSum whose count is of the data alone"
                )
            return use(terms.sums, terms.counts)

        return self.holding(held)

    def _total_count(self) -> float:
        if self._count is None:
            with torch.no_grad():
                self._count = sum(
                    self._of_batch(batch, lambda _, counts: counts.double().sum().item()) for batch in self.batches()
                )
        return self._count

    @contextlib.contextmanager
    def running(self, *, grad: bool) -> Iterator[None]:
        """Eval mode, kernels with second derivatives, and one message for what goes wrong."""
        shortage = False
        try:
            with (
                self._wrapper.evaluating(),
                torch.set_grad_enabled(grad),
                sdpa_kernel(SDPBackend.MATH),
                differentiable_recurrence(self._wrapper.model),
                composed_weight_norm(self._wrapper.model),
            ):
                if not self._examined:
                    with torch.no_grad():
                        refuse_other_parameters(self._wrapper, self._data)
                        self._objective.examine(self._state, next(self.batches()))
                    self._examined = True
                yield
        except (RuntimeError, UserCodeError) as error:
            if not is_shortage(error):
                raise
            shortage = True
        if shortage:
            raise ResourceError(
                "a batch with the graph of its gradient does not fit the memory: give a smaller --batch-size"
            )


def gradients(term: Tensor, by: Sequence[Tensor], *, create_graph: bool = False) -> Sequence[Tensor | None]:
    """∂term/∂t for each tensor t of `by`; None where the term does not depend on it."""
    if not term.requires_grad:
        return [None] * len(by)
    return torch.autograd.grad(term, by, create_graph=create_graph, allow_unused=True)


def _differentiable(dtype: torch.dtype | None) -> torch.dtype | None:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
