"""`ModelWrapper`: a network, its loss, its data and its metrics, as the one thing that slices are taken of.

It answers one question, the terms of each sample of a batch, with whatever tensors the network holds at that moment;
which tensors those are is for the evaluator.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from slicer_core.errors import DataError, ModuleError, UsageError
from slicer_core.philox import standard_normal
from slicer_core.subject.attributes import Attributes
from slicer_core.subject.classes import class_name, class_terms
from slicer_core.subject.data import Batch, SplitData, copied, in_float32, survey
from slicer_core.subject.eval_mode import enter_eval_mode
from slicer_core.subject.float32 import float32_precision
from slicer_core.subject.losses import LOSS, LossForm, SampleTerms, loss_form, terms_of_value
from slicer_core.subject.random_states import own_generator, own_random_states
from slicer_core.subject.replicas import leave_other_processes_alone
from slicer_core.subject.sharding import refuse_sharded
from slicer_core.subject.subset import stratified_order, subset
from slicer_core.subject.undisturbed import ordinary
from slicer_core.subject.user_code import user_code

SPLITS = ("train", "test")

# One order for all runs, so that slices along other random directions (--seed) are of the same samples.
_SAMPLES_SEED = 0


class ModelWrapper:
    """Model + loss + data (+ metrics).

    Args:
        model: evaluated in eval mode; put back as it was afterwards. Moved to `device` if one is given.
        loss_fn: `loss_fn(output, target)`: any loss of torch.nn, or a function that returns a mean over samples,
            one loss a sample, or a `LossSum`.
        train_data, test_data: a (X, y) pair of tensors, a Dataset, a DataLoader, or any re-iterable of batches. With
            `loss_fn`, a batch is (inputs…, target). With `batch_loss`, a list of tensors has a batch in each.
        metrics: name -> `metric(output, target)`, one value a sample.
        batch_loss: `batch_loss(model, batch)` in place of `loss_fn`, for everything else.
        batch_coupled: the loss couples the samples of a batch, so that its value belongs to this partition.
        tf32: products of float32 may be taken in TF32, see `float32_precision`; else they are in float32, whatever
            torch does by default.

    Raises:
        ModuleError: an argument is not of these kinds.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Callable[..., Any] | None = None,
        train_data: Any = None,
        test_data: Any = None,
        device: torch.device | str | None = None,
        metrics: Mapping[str, Callable[[Any, Any], Tensor]] | None = None,
        *,
        batch_loss: Callable[[nn.Module, Any], Any] | None = None,
        batch_coupled: bool = False,
        tf32: bool = False,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ModuleError(f"model is a {type(model).__name__}, expected a torch.nn.Module")
        refuse_sharded(model)
        if lazy := [name for name, tensor in model.named_parameters() if is_lazy(tensor)]:
            raise ModuleError(f"{lazy[0]} has no shape yet: run the model once on a batch before it is wrapped")
        if (loss_fn is None) == (batch_loss is None):
            raise ModuleError("give either loss_fn(output, target) or batch_loss(model, batch)")
        if train_data is None and test_data is None:
            raise ModuleError("give train_data: a (X, y) pair of tensors, a Dataset, a DataLoader or a list of batches")
        if metrics and batch_loss is not None:
            raise ModuleError("metrics need the model's output, so they go with loss_fn and not with batch_loss")
        if metrics and LOSS in metrics:
            raise ModuleError(f"a metric can't be called {LOSS!r}, which is the loss")
        self.model = model
        self.loss_fn = loss_fn
        self.batch_loss = batch_loss
        self.metrics = dict(metrics or {})
        self.batch_coupled = batch_coupled
        self.tf32 = tf32
        self.classes: tuple[int, ...] = ()
        self._attributes: Attributes | None = None
        self._data = {
            name: data for name, data in zip(SPLITS, (train_data, test_data), strict=True) if data is not None
        }
        self._surveys: dict[tuple[str, int | None, torch.device], SplitData] = {}
        self._subsets: dict[tuple[str, int | None, torch.device, int], SplitData] = {}
        self.form = loss_form(loss_fn) if loss_fn is not None else LossForm()
        first = next(self.model.parameters(), None)
        self.device = torch.device("cpu") if first is None else first.device
        self.device_given = device is not None
        if device is not None:
            self.to(device)

    def to(self, device: torch.device | str) -> ModelWrapper:
        """Moves the model, the loss, the metrics and the batches to the device; returns itself."""
        self.device = torch.device(device)
        self.model.to(self.device)
        for function in (self.loss_fn, self.form.module, self.batch_loss, *self.metrics.values()):
            if isinstance(function, nn.Module):
                function.to(self.device)
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that have data, `train` first."""
        return tuple(self._data)

    def split(self, name: str, batch_size: int | None = None, samples: int | None = None) -> SplitData:
        """The split as batches on the device, surveyed at first use; `samples` of it, chosen by `stratified_order`.

        Batches of a subset are joined to the size of the whole split's where the loss is known to be a sum.

        Raises:
            UsageError: the wrapper has no such split, or see `check_samples`.
            DataError: see `survey`.
        """
        if name not in self._data:
            raise UsageError(f"there is no {name} data; the module gives {' and '.join(self._data)}")
        self.check_samples(samples)
        key = (name, batch_size, self.device)
        if key not in self._surveys:
            with user_code(f"reading the {name} data"), own_random_states(), own_generator(self._data[name]):
                self._surveys[key] = survey(
                    self._data[name],
                    name,
                    batch_size=batch_size,
                    device=self.device,
                    list_is_batches=self.batch_loss is not None,
                )
        whole = self._surveys[key]
        if samples is None or samples >= whole.num_samples:
            return whole
        if (*key, samples) not in self._subsets:
            joined = -(-whole.num_samples // whole.num_batches) if self.form.terms is not None else None
            with user_code(f"reading the {name} data"), own_random_states(), own_generator(self._data[name]):
                order = stratified_order(whole, _SAMPLES_SEED)
                self._subsets[*key, samples] = subset(whole, order[:samples], batch_size=joined)
        return self._subsets[*key, samples]

    @property
    def quantities(self) -> tuple[str, ...]:
        """What is known of a point: the loss, the metrics, and the loss of each of `classes` (see `find_classes`)."""
        return (LOSS, *self.metrics, *map(class_name, self.classes))

    def check_samples(self, samples: int | None) -> None:
        """Checks the number of samples that a split is to be cut to, None for all.

        Raises:
            UsageError: it is not positive, or the loss couples the samples of a batch.
        """
        if samples is None:
            return
        if samples < 1:
            raise UsageError(f"--samples {samples} is not a number of samples: give 1 or more")
        if self.batch_coupled:
            raise UsageError(
                f"--samples {samples} would cut batches whose samples the loss couples (batch_coupled), so the loss "
                "would be another: leave out --samples, or give the module less data"
            )

    def get_parameters(self) -> dict[str, Tensor]:
        """Name -> a detached copy, for every parameter; a tied parameter appears once."""
        return {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}

    def get_random_parameters(self, scale: float, seed: int | None = None) -> dict[str, Tensor]:
        """θ + scale·N(0, 1) at every entry; without a seed, another point at each call.

        The numbers come from a generator of their own, so that a training loop's random state is left alone.
        """
        chosen = secrets.randbits(63) if seed is None else seed
        return {
            name: parameter
            + scale
            * torch.from_numpy(standard_normal(f"{chosen}/point/{name}", 0, parameter.numel()))
            .reshape(parameter.shape)
            .to(parameter.device, parameter.dtype)
            for name, parameter in self.get_parameters().items()
        }

    def state(self) -> dict[str, Tensor]:
        """Name -> the model's own tensor, parameters and then buffers, detached, not copied; tied ones once.

        Those made in inference mode are copied: see `ordinary`.
        """
        named = [*self.model.named_parameters(), *self.model.named_buffers()]
        return {name: ordinary(tensor.detach()) for name, tensor in named}

    def varying_names(self) -> list[str]:
        """The parameters that get random, axis and curvature directions: floating, and not frozen."""
        return [
            name
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad and parameter.is_floating_point()
        ]

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Eval mode, no gradients, float32 as `tf32` says, and a random state of its own; all is put back at the end.

        So is every attribute of the modules, between passes too: see `Attributes`.
        """
        before, outer = Attributes(self.model), self._attributes
        devices = [self.device] if self.device.type == "cuda" else []
        with own_random_states(devices), torch.no_grad(), float32_precision(tf32=self.tf32):
            try:
                enter_eval_mode(self.model)
                leave_other_processes_alone(self.model)
                self._attributes = Attributes(self.model)
                yield
            finally:
                self._attributes = outer
                before.put_back()

    def sample_terms(self, batch: Batch, *, widened: bool = False) -> dict[str, SampleTerms]:
        """Loss and metrics of each sample of the batch, with the tensors that the model holds now.

        `widened`: a model that runs in half precision gives its output to the loss in float32.
        """
        self._forget()
        if self.batch_loss is not None:
            return {LOSS: terms_of_value(self.batch_loss(self.model, batch.data), batch.num_samples)}
        inputs, target = _inputs_and_target(batch.data)
        output = self.model(*inputs)
        if widened:
            output = in_float32(output)
        terms = {LOSS: self.terms_of_output(output, target, batch.num_samples)}
        for name, metric in self.metrics.items():
            terms[name] = _metric_terms(name, metric(output, target), batch.num_samples)
        return terms | class_terms(terms[LOSS], target, self.classes)

    def terms_of_output(self, output: Any, target: Any, num_samples: int) -> SampleTerms:
        """The loss of each sample from the model's output on a batch; not for a `batch_loss`."""
        if self.form.terms is not None:
            return self.form.terms(output, target)
        assert self.loss_fn is not None
        return terms_of_value(self.loss_fn(output, target), num_samples)

    def own_value(self, batch: Batch, *, widened: bool = False, is_spare: bool = False) -> float:
        """The user's own loss of a batch, as they would compute it, with the tensors that the model holds now.

        Of a copy of the batch, unless it is a spare one that may be written to.
        """
        self._forget()
        data = batch.data if is_spare else copied(batch.data)
        if self.batch_loss is not None:
            value = self.batch_loss(self.model, data)
        else:
            inputs, target = _inputs_and_target(data)
            loss = self.form.module or self.loss_fn
            assert loss is not None
            output = self.model(*inputs)
            value = loss(in_float32(output) if widened else output, target)
        if isinstance(value, Tensor) and value.numel() == 1:
            return value.item()
        return self.form.value(terms_of_value(value, batch.num_samples))

    def _forget(self) -> None:
        if self._attributes is not None:
            self._attributes.forget()


def _inputs_and_target(data: Any) -> tuple[tuple[Any, ...], Any]:
    if isinstance(data, (tuple, list)) and len(data) >= 2:
        return tuple(data[:-1]), data[-1]
    raise DataError(
        f"with loss_fn a batch is (inputs…, target), found {type(data).__name__}: give batch_loss(model, batch) instead"
    )


def _metric_terms(name: str, values: Any, num_samples: int) -> SampleTerms:
    if not isinstance(values, Tensor) or values.ndim == 0 or values.shape[0] != num_samples:
        found = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise DataError(f"metric {name!r} returned {found}; expected one value for each of {num_samples} samples")
    floating = values if values.is_floating_point() else values.float()
    return terms_of_value(floating, num_samples)
