"""Whether a loss reads the parameters where its model has them, so that others can be put in their place there.

A list of parameters that was made before (`params = list(model.parameters())`, for a penalty), or a plain attribute
beside the registration, goes on to read the model's own tensors; points are then written into these.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from slicer_core.errors import DataError
from slicer_core.evaluate.kept import kept_parameters, sample_losses
from slicer_core.evaluate.layout import first_samples, is_splittable
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.strategies.streaming import overlapping
from slicer_core.subject import Batch, ModelWrapper, SplitData

READS_ELSEWHERE = (
    "the loss or the model reads parameters past the model's own names (a list of them that was made before, say), so "
    "points are written into the model's own tensors"
)
"""As a reason for that."""

_KNOWN: weakref.WeakKeyDictionary[ModelWrapper, bool] = weakref.WeakKeyDictionary()
_SAMPLES = 8
_SEED = 40_127
_RELATIVE = {torch.float64: 1e-9, torch.float32: 1e-5}
_RELATIVE_OF_HALVES = 1e-2


def reads_elsewhere(wrapper: ModelWrapper, data: SplitData) -> bool:
    """Whether the loss of a few samples depends on tensors that the model does not name; found out once a wrapper.

    Only while the wrapper is `evaluating`; the model is left as it was. Of a loss that can't be run here, or whose
    parameters share memory, nothing is found.

    Raises:
        DataError: the loss reads what it, or an earlier pass, made of a parameter and kept where it can't be put back.
    """
    if wrapper not in _KNOWN:
        objective, few = Objective(wrapper), next(iter(data.batches()))
        if is_splittable(objective, few):
            few = first_samples(few, _SAMPLES)
        if kept := kept_parameters(wrapper, objective, few):
            raise DataError(
                f"the loss or the model keeps what it made of {kept[0]} in one pass and reads that in later ones, so "
                "that all points would have it: let it be made anew in eval mode too, or keep it as an attribute of "
                "its module, and clear it before a slice"
            )
        _KNOWN[wrapper] = _reads_elsewhere(wrapper, objective, few)
    return _KNOWN[wrapper]


def _reads_elsewhere(wrapper: ModelWrapper, objective: Objective, few: Batch) -> bool:
    own = {name: tensor.data for name, tensor in [*wrapper.model.named_parameters(), *wrapper.model.named_buffers()]}
    if any(tensor.layout is not torch.strided for tensor in own.values()) or overlapping(own):
        return False
    names = {name for name, _ in wrapper.model.named_parameters()}

    def loss() -> Tensor:
        # Metal has no float64.
        return sample_losses(wrapper, few).detach().cpu()

    try:
        point = {name: _moved(tensor) if name in names else tensor.clone() for name, tensor in own.items()}
        # Buffers may be written to; of parameters, which may be large, there are copies enough.
        held = {name: tensor if name in names else tensor.clone() for name, tensor in point.items()}
        swapped = objective.holding(held, loss)
        # Swapped too, so that a buffer that a pass puts in the place of another is gone after it.
        written = _written(own, point, lambda: objective.holding(own, loss))
    except Exception:  # noqa: BLE001 - the user's code, or no memory; where it fails at the center too, the evaluation tells
        return False
    relative = _RELATIVE.get(swapped.dtype, _RELATIVE_OF_HALVES)
    return not torch.allclose(swapped.double(), written.double(), rtol=relative, atol=relative, equal_nan=True)


def _written(own: Mapping[str, Tensor], point: Mapping[str, Tensor], loss: Callable[[], Tensor]) -> Tensor:
    """The loss while the model's own tensors hold the point."""
    before = {name: tensor.clone() for name, tensor in own.items()}
    try:
        for name, tensor in own.items():
            tensor.copy_(point[name])
        return loss()
    finally:
        for name, tensor in own.items():
            tensor.copy_(before[name])


def _moved(tensor: Tensor) -> Tensor:
    """A tenth larger or smaller, entry by entry, and no zeros."""
    if not tensor.is_floating_point():
        return tensor.clone()
    generator = torch.Generator().manual_seed(_SEED)
    noise = torch.rand(tensor.shape, generator=generator).to(tensor)
    return torch.addcmul(tensor, noise - 0.5, 0.2 * tensor + 0.02)


def refuse_kept(wrapper: ModelWrapper, data: SplitData) -> None:
    """For points that are written into the model's own tensors in any case, where copies of these fit the memory.

    Raises:
        DataError: see `reads_elsewhere`.
    """
    if wrapper not in _KNOWN:
        with wrapper.evaluating():
            reads_elsewhere(wrapper, data)


def refuse_other_parameters(wrapper: ModelWrapper, data: SplitData) -> None:
    """For what is differentiated by the tensors in the parameters' places.

    Raises:
        DataError: the loss reads others.
    """
    if reads_elsewhere(wrapper, data):
        raise DataError(
            "the loss or the model reads parameters past the model's own names (a list of them that was made before, "
            "say), so it can't be differentiated by them at other points: let it read model.parameters() at each call"
        )
