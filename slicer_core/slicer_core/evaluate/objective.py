"""The network and its loss as a function of named tensors, without changing the user's model."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor  # torch has no public way to ask
from torch.func import functional_call

from slicer_core.errors import DataError
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS, Batch, LossCheck, ModelWrapper, SampleTerms, copied, user_code, written_versions

Result = TypeVar("Result")
Terms = dict[str, SampleTerms]

# A buffer up to this size is put back at each point, whether it seems to be written or not.
_SMALL_BYTES = 2**20

REDUCED = (torch.float16, torch.bfloat16)
"""Precisions in which a model may be run, while its weights are combined and its loss is taken in float32."""


class Objective(nn.Module):
    """Runs a function while the model, and the loss if it is a module, hold given tensors.

    The model's own tensors are swapped out for the time of the call and back afterwards, whatever happens in it.
    What a forward pass writes in place (a counting buffer, an embedding with `max_norm`, its own input) it writes to
    copies, see `examine`.
    """

    def __init__(self, wrapper: ModelWrapper, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = wrapper.model
        loss = wrapper.form.module or wrapper.loss_fn
        self.criterion = loss if isinstance(loss, nn.Module) else None
        # In a tuple, so that nn.Module does not look into it.
        self._wrapper = (wrapper,)
        self._dtype = dtype
        self.is_reduced = dtype in REDUCED
        self._check = LossCheck(wrapper, widened=self.is_reduced)
        # Whether any partition of a batch gives the same sums; of losses that are not torch's own, `examine` tells.
        self.sums_over_samples = wrapper.form.terms is not None and not wrapper.batch_coupled
        # Convolutions run faster so, but those of a GPU in float32, which have no such kernels of their own.
        in_full = wrapper.device.type == "cuda" and not (self.is_reduced or wrapper.tf32)
        has_convolutions = any(isinstance(module, nn.Conv2d) for module in wrapper.model.modules())
        self.has_channels_last = has_convolutions and not in_full
        self._places = _places(self)
        own = {id(tensor) for _, tensor in _named_tensors(wrapper.model)}
        self._criterion_state = {
            # Its input is in float32 where the model's precision is reduced.
            place: self.cast_for_combining(tensor.detach())
            for _, tensor in _named_tensors(self.criterion)
            if id(tensor) not in own
            for place in self._places[id(tensor)]
        }
        self._names = {name: self._places[id(tensor)] for name, tensor in _named_tensors(wrapper.model)}
        # In a tuple, as above: the model's parameters are its own.
        self._own_parameters = (dict(wrapper.model.named_parameters()),)
        # What a pass may write to before any has: a buffer that counts what happens seldom, an embedding that is
        # kept within a norm. Of larger buffers that are written, the first pass has to tell.
        self._may_be_written = frozenset(_small_buffers(wrapper.model)) | _renormalized(wrapper.model)
        self.written = self._may_be_written
        self._writes_batch = False
        # What a pass took over the batch that was examined last, which is not to be kept for that.
        self._examined: tuple[weakref.ref[Batch] | None, float | None] = (None, None)
        self._moved: tuple[PointBlock, list[dict[str, Tensor]]] | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is evaluated."""
        return self._wrapper[0].device

    @property
    def dtype(self) -> torch.dtype | None:
        """The evaluation's precision, None for the model's own."""
        return self._dtype

    @property
    def has_tf32(self) -> bool:
        """Whether products of float32 may be taken in TF32."""
        return self._wrapper[0].tf32

    def cast(self, tensor: Tensor) -> Tensor:
        """The tensor on the device, and in the evaluation's dtype if it is floating."""
        dtype = self._dtype if tensor.is_floating_point() else None
        return tensor.to(self.device, dtype)

    def cast_for_combining(self, tensor: Tensor) -> Tensor:
        """As `cast`, but in float32 where the evaluation's dtype has too few digits for a sum of weights."""
        if self.is_reduced and tensor.is_floating_point():
            return tensor.to(self.device, torch.float32)
        return self.cast(tensor)

    def directions_of(self, block: PointBlock) -> list[dict[str, Tensor]]:
        """The block's directions, as weights are combined.

        On a device with memory of its own, the last block's stay there: its kernel on the next batch needs them too.
        """
        if self._moved is not None and self._moved[0] is block:
            return self._moved[1]
        # Not two blocks' at a time.
        self._moved = None
        found = [
            {name: self.cast_for_combining(tensor) for name, tensor in direction.items()}
            for direction in block.directions()
        ]
        if self.device.type != "cpu":
            self._moved = (block, found)
        return found

    def forward(self, function: Callable[[], Any]) -> Any:
        """Only for `functional_call`."""
        return function()

    def holding(self, state: NamedTensors, function: Callable[[], Result]) -> Result:
        """The result of `function()` while the model holds `state`, which has all of its parameters and buffers."""
        swapped = dict(self._criterion_state)
        for name, tensor in state.items():
            own = self._own_parameters[0].get(name)
            given = tensor if own is None else _like_parameter(tensor, requires_grad=own.requires_grad)
            swapped |= dict.fromkeys(self._names[name], given)
        _forget_autocast_weights()
        # Every place of a tied tensor is given, so torch need not look for them at each call.
        return functional_call(self, swapped, (function,), tie_weights=False)

    def at_center(self, state: NamedTensors, batch: Batch) -> Terms:
        """The terms of each sample of the batch with `state`; nothing is written to it or to the batch.

        Raises:
            DataError: the model wrote to what is not in `written`.
        """
        held, given = self.unharmed(state), Batch(data=copied(batch.data), num_samples=batch.num_samples)
        with self.leaving_alone({name: held[name] for name in held if name not in self.written}):
            versions = written_versions(given.data)
            terms = self.holding(held, lambda: self.terms(given))
        # That a first batch was not written to says nothing of this one.
        self._writes_batch = self._writes_batch or written_versions(given.data) != versions
        return terms

    @contextlib.contextmanager
    def leaving_alone(self, tensors: NamedTensors, batch: Batch | None = None) -> Iterator[None]:
        """Passes within leave these tensors, and the batch, as they are.

        Raises:
            DataError: one did not.
        """
        data = None if batch is None or self._writes_batch else batch.data
        before = [tensor._version for tensor in tensors.values()], written_versions(data)
        yield
        if written_versions(data) != before[1]:
            raise DataError(
                "the model writes to its input, but not in the first pass over a batch, so the points after it had "
                "another: let forward write to a copy (x = x.clone())"
            )
        changed = [name for name, old in zip(tensors, before[0], strict=True) if tensors[name]._version != old]
        if changed:
            raise DataError(
                f"the model writes to {', '.join(changed)}, but not in the first pass, so the points after it had "
                "another: let it leave them alone in eval mode"
            )

    def center_terms(self, state: NamedTensors, batch: Batch, *, is_first: bool) -> Terms:
        """`at_center`, with the check of the batch's halves where another batch's may have said nothing of this one."""
        terms = self.at_center(state, batch)
        # What is one number for a batch may be a mean over samples in the first batch and not in another, where
        # sequences have other lengths.
        if not is_first and terms[LOSS].sums.numel() == 1:
            self.check_halves(state, batch)
        return terms

    def examine(
        self, state: NamedTensors, batch: Batch, *, put_back: Callable[[Iterable[str]], None] | None = None
    ) -> Terms:
        """Finds out what a forward pass writes in place, and checks the loss: see `LossCheck.batch`.

        Returns what `at_center` would.

        Tensors of `state` that are or may be written are then in `written`: who evaluates gives each call a copy. The
        passes run on copies of `state`, or on `state` itself where `put_back` undoes what was written to some of it.
        """
        held = dict(state)
        if put_back is None:
            held = {name: self.cast(tensor).clone() for name, tensor in state.items()}
        trial = Batch(data=copied(batch.data), num_samples=batch.num_samples)
        versions = {name: tensor._version for name, tensor in held.items()}
        batch_versions = written_versions(trial.data)
        found = self.holding(held, lambda: self.terms(trial))
        self.sums_over_samples = found[LOSS].sums.numel() == batch.num_samples and not self._wrapper[0].batch_coupled
        written = (name for name, tensor in held.items() if tensor._version != versions[name])
        self.written = self._may_be_written.union(written)
        self._writes_batch = written_versions(trial.data) != batch_versions
        with user_code("evaluating the loss"):
            if put_back is None:
                for name in self.written:
                    held[name].copy_(state[name])
            else:
                put_back(self.written)
            spare = None if self._writes_batch else trial
            self.holding(held, lambda: self._check.batch(batch, found[LOSS], spare=spare))
        self._examined = weakref.ref(batch), self._check.pass_seconds
        if put_back is not None:
            put_back(self.written)
        return found

    def pass_seconds(self, batch: Batch) -> float | None:
        """What a pass over the batch took when it was examined; None where it was not, or nothing took the time."""
        examined, seconds = self._examined
        is_examined = examined is not None and examined() is batch
        return seconds if is_examined and self.device.type == "cpu" else None

    def check_halves(self, state: NamedTensors, batch: Batch) -> None:
        """See `LossCheck.halves`."""
        with user_code("evaluating the loss"):
            self.holding(self.unharmed(state), lambda: self._check.halves(batch))

    def unharmed(self, state: NamedTensors) -> dict[str, Tensor]:
        """What the model may be given of `state`: copies of what it writes."""
        held = {name: self.cast(tensor) for name, tensor in state.items()}
        return {name: tensor.clone() if name in self.written else tensor for name, tensor in held.items()}

    def terms(self, batch: Batch) -> Terms:
        """The terms of each sample with the tensors that the model holds now."""
        _forget_autocast_weights()
        if self._writes_batch:
            batch = Batch(data=copied(batch.data), num_samples=batch.num_samples)
        with user_code("evaluating the loss"):
            found = self._wrapper[0].sample_terms(batch, widened=self.is_reduced)
        return {name: _without_graph(terms) for name, terms in found.items()}


def _like_parameter(tensor: Tensor, *, requires_grad: bool) -> Tensor:
    """As the model's code expects it where it asks for parameters, or for those that are trained, as a penalty does.

    The same memory. Tensors of a transform or a trace stay what they are.
    """
    if type(tensor) is not Tensor or torch.compiler.is_compiling() or is_batchedtensor(tensor):
        return tensor
    return nn.Parameter(tensor, requires_grad=requires_grad)


def _forget_autocast_weights() -> None:
    """Below an `autocast` of the caller's, a pass would take the weights that an earlier one has cast.

    torch keeps them until the outermost context is left, whatever is written to the weights in between, and without a
    graph where they were cast under `no_grad`.
    """
    torch.clear_autocast_cache()


def _without_graph(terms: SampleTerms) -> SampleTerms:
    """A loss that takes gradients itself would keep every activation alive."""
    if not (terms.sums.requires_grad or terms.counts.requires_grad):
        return terms
    return SampleTerms(sums=terms.sums.detach(), counts=terms.counts.detach())


def _named_tensors(module: nn.Module | None) -> list[tuple[str, Tensor]]:
    return [] if module is None else [*module.named_parameters(), *module.named_buffers()]


def _small_buffers(model: nn.Module) -> list[str]:
    return [name for name, buffer in model.named_buffers() if buffer.numel() * buffer.element_size() <= _SMALL_BYTES]


def _renormalized(model: nn.Module) -> frozenset[str]:
    """The weights of embeddings with `max_norm`, which are written to where a row that is looked up is too long."""
    owners = [module for module in model.modules() if getattr(module, "max_norm", None) is not None]
    weights = {id(module.weight) for module in owners if isinstance(module, (nn.Embedding, nn.EmbeddingBag))}
    return frozenset(name for name, parameter in model.named_parameters() if id(parameter) in weights)


def _places(module: nn.Module) -> dict[int, list[str]]:
    """Identity of each tensor -> a name for each place that holds it.

    A submodule with several names is one place: swapped twice, it would get the wrong tensor back.
    """
    places: dict[int, list[str]] = {}
    for prefix, owner in module.named_modules():
        for leaf, tensor in [*owner._parameters.items(), *owner._buffers.items()]:
            if tensor is not None:
                places.setdefault(id(tensor), []).append(f"{prefix}.{leaf}" if prefix else leaf)
    return places
