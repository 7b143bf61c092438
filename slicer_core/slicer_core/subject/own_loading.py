"""What a model's own `load_state_dict` makes of a checkpoint, where modules of it have a part in that."""

from __future__ import annotations

import contextlib
import inspect
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from slicer_core.parameters import NamedTensors
from slicer_core.subject.python_side import PythonSide, loading_anew
from slicer_core.subject.user_code import user_code

# torch's own modules and hooks add counters and take older names, which the fit of the names does too.
_TORCH = "torch."


def has_own_loading(model: nn.Module) -> bool:
    """Whether code beside torch's takes part in `model.load_state_dict`."""
    return any(not (getattr(code, "__module__", None) or "").startswith(_TORCH) for code in _parts_in_loading(model))


def python_side_of(model: nn.Module) -> PythonSide | None:
    """What the checkpoint that was loaded last has set beside tensors; None where loading is torch's alone."""
    return PythonSide(model) if has_own_loading(model) else None


def as_loaded(model: nn.Module, given: NamedTensors, *, source: str) -> dict[str, Tensor]:
    """The model's parameters and buffers once it has loaded `given`, by the names of a state dict; copies.

    Buffers that the model makes itself and saves none of are there too: a hook may have made them anew. The model's
    tensors are put back. It loads itself and not a copy, since hooks may hold on to it. What it sets beside tensors
    stays, see `python_side`.

    Raises:
        UserCodeError: the model's code raised.
    """
    state: Any = OrderedDict(given)
    # Which versions of the modules have saved it is not known of all formats; taken to be the present ones.
    state._metadata = getattr(model.state_dict(keep_vars=True), "_metadata", OrderedDict())
    with loading_anew(model), _put_back(model), torch.no_grad():
        with user_code(f"load_state_dict of {source}"):
            model.load_state_dict(state, **({"strict": False} if _takes_strict(model) else {}))
        return {name: tensor.detach().clone() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


def _parts_in_loading(model: nn.Module) -> Iterator[Any]:
    yield type(model).load_state_dict
    for module in model.modules():
        yield type(module)._load_from_state_dict
        for hook in (*module._load_state_dict_pre_hooks.values(), *module._load_state_dict_post_hooks.values()):
            # torch wraps some, and keeps them there.
            yield getattr(hook, "hook", hook)


def _takes_strict(model: nn.Module) -> bool:
    """Whether `load_state_dict` can be told that tensors may be missing, as torch's can."""
    taken = inspect.signature(model.load_state_dict).parameters
    return "strict" in taken or any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values())


@contextlib.contextmanager
def _put_back(model: nn.Module) -> Iterator[None]:
    """Afterwards the model holds the same modules and tensors as before, and no others, with the same values."""
    modules = list(model.modules())
    holders: list[dict[str, Any]] = [
        holder for module in modules for holder in (module._parameters, module._buffers, module._modules)
    ]
    held = [dict(holder) for holder in holders]
    unsaved = [set(module._non_persistent_buffers_set) for module in modules]
    tensors = {id(entry): entry for entries in held for entry in entries.values() if isinstance(entry, Tensor)}
    # `.data`: a graph that the model is part of does not take what is put back for a change.
    kept = [(tensor, tensor.data, tensor.detach().clone()) for tensor in tensors.values()]
    try:
        yield
    finally:
        for module, names in zip(modules, unsaved, strict=True):
            module._non_persistent_buffers_set = names
        for holder, entries in zip(holders, held, strict=True):
            # In their order too.
            holder.clear()
            holder.update(entries)
        for tensor, place, values in kept:
            place.copy_(values)
            if _place_of(tensor) != _place_of(place):
                tensor.data = place


def _place_of(tensor: Tensor) -> tuple[Any, ...]:
    """Where its numbers are and how they lie there."""
    form = tensor.shape, tensor.dtype, tensor.device, tensor.layout
    if tensor.layout is not torch.strided or tensor.device.type == "meta":
        return form
    return *form, tensor.stride(), tensor.data_ptr()
