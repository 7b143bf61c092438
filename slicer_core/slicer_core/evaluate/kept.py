"""Whether a loss reads what an earlier pass has made of parameters and kept where it can't be put back.

What the model's own modules keep is gone before the next pass, see `subject.attributes`. A dictionary of the program, a
closure or `functools.cache` gives every point what one pass, or a training before the slice, has left there.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CellType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.recurrent import differentiable_recurrence
from slicer_core.evaluate.uncompiled import uncompiled
from slicer_core.subject import LOSS, Batch, ModelWrapper, copied
from slicer_core.subject.user_code import user_code

# The name of a parameter, on what stood in its place in a pass.
_GIVEN_AS = "_given_as_parameter"
# Constants that a pass reads are seldom more; each is looked for with a pass or a few.
_TRIED = 16


def sample_losses(wrapper: ModelWrapper, few: Batch) -> Tensor:
    """The losses of the samples, with the tensors that the model holds now."""
    # Of a loss that ends the program too the evaluation tells.
    with user_code("evaluating the loss"):
        return wrapper.sample_terms(Batch(data=copied(few.data), num_samples=few.num_samples))[LOSS].sums


def kept_parameters(wrapper: ModelWrapper, objective: Objective, few: Batch) -> list[str]:
    """Parameters that the losses of a few samples are made of as another pass had them, as far as that can be seen.

    The graph that makes the losses tells of passes from here on. What was kept before has no such graph; it is known by
    being made anew where it is taken away, if a parameter has no other part in the losses.
    """
    try:
        passes = _Passes(wrapper, objective, few)
        # The first one leaves something, or finds what an earlier one left.
        return passes.run() or passes.run() or (_kept_before(passes) if passes.unused else [])
    except Exception:  # noqa: BLE001 - the user's code, or no memory; where it fails without gradients too, the evaluation tells
        return []


class _Passes:
    """Passes with a graph, each with other tensors in the parameters' places."""

    def __init__(self, wrapper: ModelWrapper, objective: Objective, few: Batch) -> None:
        self._wrapper, self._objective, self._few = wrapper, objective, few
        modules = [module for module in (wrapper.model, objective.criterion) if module is not None]
        self.named = {
            name: tensor.detach()
            for name, tensor in [*wrapper.model.named_parameters(), *wrapper.model.named_buffers()]
        }
        self.own_memory = {
            tensor.untyped_storage().data_ptr()
            for module in modules
            for tensor in (*module.parameters(), *module.buffers())
            if tensor.layout is torch.strided
        }
        # Varying parameters that had no part in the losses of the last pass.
        self.unused: set[str] = set()

    def run(self, mode: TorchFunctionMode | None = None) -> list[str]:
        """The names of the parameters whose places were read as an earlier pass had them."""
        # Copies, since a pass may write to any of them.
        held = {name: tensor.clone() for name, tensor in self.named.items()}
        leaves = {name: nn.Parameter(held[name]) for name in self._wrapper.varying_names()}
        for name, leaf in leaves.items():
            setattr(leaf, _GIVEN_AS, name)

        def losses() -> Tensor:
            if mode is None:
                return sample_losses(self._wrapper, self._few)
            with uncompiled(), mode:
                return sample_losses(self._wrapper, self._few)

        # Nothing is differentiated by it, so the graph need not keep the activations.
        with (
            torch.enable_grad(),
            saved_tensors_hooks(_dropped, _dropped),
            differentiable_recurrence(self._wrapper.model),
        ):
            loss = self._objective.holding(held | leaves, losses)
        found = {id(leaf): leaf for leaf in _leaves_of(loss)}
        self.unused = {name for name, leaf in leaves.items() if found.pop(id(leaf), None) is None}
        return _names(list(found.values()))


def _kept_before(passes: _Passes) -> list[str]:
    """Parameters of which something was made before that all passes read."""
    read = [_Read(), _Read()]
    for mode in read:
        passes.run(mode)
    unused, first = set(passes.unused), read[0].still_there()
    # What both have read was there before, and no pass makes it.
    both = [tensor for key, tensor in read[1].still_there().items() if first.get(key) is tensor]
    constants = [
        tensor
        for tensor in both
        if tensor.is_floating_point()
        and tensor.layout is torch.strided
        and tensor.numel()
        and tensor.untyped_storage().data_ptr() not in passes.own_memory
    ]
    for constant in constants[:_TRIED]:
        for slot in _slots_of(constant, (first, both, constants)):
            for empty in slot.ways_to_empty():
                if names := sorted(unused.intersection(_made_anew(passes, slot, empty))):
                    return names
    return []


def _made_anew(passes: _Passes, slot: _Slot, empty: Callable[[], None]) -> list[str]:
    """The parameters that a pass makes the slot's content of, where it finds none there."""
    try:
        empty()
        passes.run()
        filled = [leaf for leaf in pytree.tree_leaves(slot.content()) if isinstance(leaf, Tensor)]
        return _names([leaf for tensor in filled for leaf in _leaves_of(tensor)])
    except Exception:  # noqa: BLE001 - what the user's code says where a constant is missing
        return []
    finally:
        slot.fill()


class _Read(TorchFunctionMode):
    """The tensors that torch's functions were given in a pass, by identity."""

    def __init__(self) -> None:
        super().__init__()
        # Weak, so that a pass takes no more memory than others.
        self._tensors: dict[int, weakref.ref[Tensor]] = {}

    def still_there(self) -> dict[int, Tensor]:
        """Those that have outlasted the pass."""
        return {key: tensor for key, known in self._tensors.items() if (tensor := known()) is not None}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in pytree.tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self._tensors[id(leaf)] = weakref.ref(leaf)
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class _Slot:
    """A place where a container holds something: a key of a dictionary, an index of a list, or a closure's cell."""

    container: Any
    key: Any
    held: Any

    def ways_to_empty(self) -> list[Callable[[], None]]:
        """Code looks for None in it, or in a dictionary for the key."""
        without_key = [lambda: self.container.__delitem__(self.key)] if isinstance(self.container, dict) else []
        return [*without_key, lambda: self._put(None)]

    def fill(self) -> None:
        self._put(self.held)

    def content(self) -> Any:
        if isinstance(self.container, CellType):
            return self.container.cell_contents
        if isinstance(self.container, dict):
            return self.container.get(self.key)
        return self.container[self.key]

    def _put(self, value: Any) -> None:
        if isinstance(self.container, CellType):
            self.container.cell_contents = value
        else:
            self.container[self.key] = value


def _slots_of(constant: Tensor, hidden: Sequence[Any]) -> list[_Slot]:
    """Where a tensor is held, and where the containers that hold it are."""
    referrers = _referrers([constant], hidden)
    found = _slots(constant, referrers)
    tuples = [referrer for referrer in referrers if isinstance(referrer, tuple)]
    containers = [*(slot.container for slot in found if not isinstance(slot.container, CellType)), *tuples]
    if not containers:
        return found
    above = _referrers(containers, [*hidden, referrers, found, *found, tuples])
    return found + [slot for container in containers for slot in _slots(container, above)]


def _slots(value: Any, referrers: Sequence[Any]) -> list[_Slot]:
    found = []
    for referrer in referrers:
        if isinstance(referrer, CellType):
            if referrer.cell_contents is value:
                found.append(_Slot(referrer, None, value))
        elif isinstance(referrer, list):
            found += [_Slot(referrer, index, value) for index, entry in enumerate(referrer) if entry is value]
        elif isinstance(container := _dictionary_of(referrer), dict):
            found += [_Slot(container, key, value) for key, entry in list(container.items()) if entry is value]
    return found


def _referrers(values: Sequence[Any], hidden: Sequence[Any]) -> list[Any]:
    """What holds one of the values; all objects of the process are looked through for that, once for all values."""
    ids = {id(values), *map(id, hidden)}
    return [referrer for referrer in gc.get_referrers(*values) if id(referrer) not in ids]


def _dictionary_of(referrer: Any) -> Any:
    """Its own, or that of an object's attributes, which Python may not have made yet."""
    return referrer if isinstance(referrer, dict) else getattr(referrer, "__dict__", None)


def _names(leaves: Sequence[Tensor]) -> list[str]:
    return sorted({getattr(leaf, _GIVEN_AS) for leaf in leaves if hasattr(leaf, _GIVEN_AS)})


def _dropped(_: Any) -> Any:
    return None


def _leaves_of(result: Tensor) -> list[Tensor]:
    """The leaves of the graph that made it."""
    found, seen, left = [], set(), [result.grad_fn]
    while left:
        node: Any = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        left += [following for following, _ in node.next_functions]
    return found
