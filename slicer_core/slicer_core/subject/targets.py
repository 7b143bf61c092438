"""What a model asks of a checkpoint: each of its tensors, and the names under which a checkpoint may have it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# A counter that no evaluation reads; old checkpoints lack it.
_COUNTER = "num_batches_tracked"
# Weight norm, before and since it is a parametrization: magnitude and direction are the same two tensors.
_WEIGHT_NORM = (
    (re.compile(r"^((?:.*\.)?)parametrizations\.(\w+)\.original0$"), r"\1\2_g"),
    (re.compile(r"^((?:.*\.)?)parametrizations\.(\w+)\.original1$"), r"\1\2_v"),
    (re.compile(r"^((?:.*\.)?)(\w+)_g$"), r"\1parametrizations.\2.original0"),
    (re.compile(r"^((?:.*\.)?)(\w+)_v$"), r"\1parametrizations.\2.original1"),
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """One of the model's tensors, by its own name.

    `names`: those under which a state dict of the model may have it, the tied ones included. `others`: names that
    serve where none of those is there. `needed`: the checkpoint has to have it, unless `has_default` says otherwise.
    `is_derived`: the model makes it itself and saves none; a copy that old checkpoints have is only compared.
    """

    name: str
    tensor: Tensor
    names: tuple[str, ...]
    others: tuple[str, ...] = ()
    needed: bool = True
    is_derived: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's."""
        return tuple(self.tensor.shape)

    @property
    def is_parameter(self) -> bool:
        """Whether training may change it."""
        return isinstance(self.tensor, nn.Parameter)

    def has_default(self) -> bool:
        """Whether the model's own value is as good as a saved one: a counter, positions, or a mask of a buffer.

        Of other floating buffers, such as running statistics or a codebook, it is not known.
        """
        if self.name.endswith(_COUNTER):
            return True
        if self.is_parameter:
            return False
        if not self.tensor.is_floating_point():
            return not self.tensor.is_complex()
        values = torch.unique(self.tensor).tolist() if self.tensor.device.type != "meta" else []
        return len(values) > 1 and set(values) <= {0.0, 1.0, -torch.inf}


def targets_of(model: nn.Module) -> list[Target]:
    """The parameters and then the buffers of the model, a tied tensor once."""
    own = dict([*model.named_parameters(), *model.named_buffers()])
    first_name = {id(tensor): name for name, tensor in own.items()}
    # keep_vars gives the model's own tensors, whose identity tells which names are tied.
    saved: dict[str, list[str]] = {}
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        if isinstance(tensor, Tensor):
            saved.setdefault(first_name.get(id(tensor), name), []).append(name)
    sharing = _sharing_memory({name: own[name] for name in saved if name in own})
    found = []
    for name, names in saved.items():
        others = [*sharing.get(name, ()), *_former_names(names)]
        tensor = own[name] if name in own else _tensor(model, name)
        if tensor is None:
            # A module makes it when it is saved (`get_extra_state`).
            made = Target(name=name, tensor=state[name], names=tuple(names), needed=False, is_derived=True)
        else:
            made = Target(name=name, tensor=tensor, names=tuple(names), others=tuple(others))
        found.append(made)
    derived = [name for name in own if name not in saved]
    return found + [
        Target(name=name, tensor=own[name], names=(name,), needed=False, is_derived=True) for name in derived
    ]


def adapter_targets(model: nn.Module) -> list[Target]:
    """The model's tensors with those of its PEFT adapter under the names that `save_pretrained` gives them.

    Only the adapter's are needed. Empty where the model has no adapter, or more than one.
    """
    peft: Any = sys.modules.get("peft")
    # Only a program that has made an adapter has imported what makes it.
    adapters = getattr(model, "peft_config", None)
    if peft is None or not isinstance(adapters, dict) or len(adapters) != 1:
        return []
    state = model.state_dict(keep_vars=True)
    saved = peft.get_peft_model_state_dict(
        model, state_dict=state, adapter_name=next(iter(adapters)), save_embedding_layers=False
    )
    names_of: dict[int, list[str]] = {}
    for name, tensor in saved.items():
        names_of.setdefault(id(tensor), []).append(name)
    whole = targets_of(model)
    own = {id(target.tensor) for target in whole}
    if not names_of or not set(names_of) <= own:
        # An adapter that is saved as something else than its own tensors, as prompts are.
        return []
    return [
        Target(
            name=target.name,
            tensor=target.tensor,
            names=(*names_of.get(id(target.tensor), ()), *target.names),
            needed=id(target.tensor) in names_of,
            is_derived=target.is_derived,
        )
        for target in whole
    ]


def ignored_patterns(model: nn.Module) -> list[re.Pattern[str]]:
    """Names in a checkpoint that the model's own library says to leave out, as `transformers` models do."""
    declared = getattr(model, "_keys_to_ignore_on_load_unexpected", None)
    return [re.compile(pattern) for pattern in declared or () if isinstance(pattern, str)]


def _sharing_memory(own: dict[str, Tensor]) -> dict[str, list[str]]:
    """Name -> the others that are the same memory without being the same tensor; a file may have one of them only."""
    groups: dict[Any, list[str]] = {}
    for name, tensor in own.items():
        if tensor.device.type != "meta" and tensor.numel() and tensor.layout is torch.strided:
            place = (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
            groups.setdefault(place, []).append(name)
    return {name: [other for other in group if other != name] for group in groups.values() for name in group}


def _former_names(names: Sequence[str]) -> Iterable[str]:
    return [pattern.sub(new, name) for name in names for pattern, new in _WEIGHT_NORM if pattern.match(name)]


def _tensor(model: nn.Module, name: str) -> Tensor | None:
    """A tensor that modules hold besides parameters and buffers; None where they hold none of that name."""
    owner, _, leaf = name.rpartition(".")
    try:
        found = getattr(model.get_submodule(owner), leaf)
    except AttributeError:
        return None
    return found if isinstance(found, Tensor) else None
