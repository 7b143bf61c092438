"""What a model's modules hold besides parameters and buffers, so that nothing that a forward pass leaves there stays.

Hooks set a weight that they computed; a module may keep what it made of its parameters until it is in train mode again,
as LeViT keeps its attention biases. At other parameters, that would be another point's.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

# Tensors in `_parameters` and the like are swapped, and the mode is set, by who evaluates.
_TORCHS_OWN = frozenset(vars(nn.Module()))
_PLAIN = (bool, int, float, complex, str, bytes)
_CONTAINERS = (dict, OrderedDict, defaultdict, list, set)
_DEPTH = 3
# Of a longer one only its length is looked at before each pass.
_LONG = 1000
_MISSING = object()


class Attributes:
    """The attributes of all modules of a model, and what the containers among them hold, as they are now."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = [_Module(module) for module in model.modules()]

    def put_back(self) -> None:
        """All attributes are as they were, and containers of modules in which tensors were left."""
        for module in self._modules:
            module.put_back()

    def forget(self) -> None:
        """Modules in which a pass has left tensors have their own attributes of before."""
        for module in self._modules:
            if module.has_changed() and module.holds_new_tensors():
                module.put_back_own()


class _Module:
    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._training = module.training
        self._held = vars(module)
        self._attributes = dict(self._held)
        self._own = [(key, value) for key, value in self._attributes.items() if key not in _TORCHS_OWN]
        # Of plain values alone no pass would make another point's loss. Most modules have no others.
        self._watched = [(key, value) for key, value in self._own if not isinstance(value, _PLAIN)]
        containers = [container for _, value in self._watched for container in _containers(value, _DEPTH)]
        self._contents = [(container, _content(container)) for container in containers]

    def has_changed(self) -> bool:
        # Plain loops, since this runs before each pass of each point.
        held = self._held
        if len(held) != len(self._attributes):
            return True
        for key, value in self._watched:
            if held.get(key, _MISSING) is not value:
                return True
        for container, content in self._contents:
            if (container or content) and not _looks_same(container, content):
                return True
        return False

    def holds_new_tensors(self) -> bool:
        own = {key: value for key, value in self._held.items() if key not in _TORCHS_OWN}
        new = [value for key, value in own.items() if self._attributes.get(key, _MISSING) is not value]
        old = {id(entry) for _, content in self._contents for entry in content}
        new += [entry for container, _ in self._contents for entry in _content(container) if id(entry) not in old]
        return any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(new))

    def put_back_own(self) -> None:
        for key in [key for key in self._held if key not in self._attributes]:
            del self._held[key]
        self._held.update(self._own)
        self._fill()

    def put_back(self) -> None:
        # What a module notes for its user, a number for each pass say, is theirs.
        has_tensors = self.has_changed() and self.holds_new_tensors()
        # A scripted module keeps its mode elsewhere than among its attributes.
        self._module.training = self._training
        self._held.clear()
        self._held.update(self._attributes)
        if has_tensors:
            self._fill()

    def _fill(self) -> None:
        for container, content in self._contents:
            if not _same(container, content):
                _refill(container, content)


def _containers(value: Any, depth: int) -> list[Any]:
    """The value and what it holds, where they are containers."""
    if type(value) not in _CONTAINERS:
        return []
    within = _content(value) if depth > 1 and len(value) <= _LONG else []
    return [value, *(inner for entry in within for inner in _containers(entry, depth - 1))]


def _content(container: Any) -> list[Any]:
    """Keys and values of a dictionary; the entries of a list or a set."""
    return [*container.keys(), *container.values()] if isinstance(container, Mapping) else list(container)


def _looks_same(container: Any, content: list[Any]) -> bool:
    if len(container) > _LONG:
        return len(container) * (2 if isinstance(container, Mapping) else 1) == len(content)
    return _same(container, content)


def _same(container: Any, content: list[Any]) -> bool:
    found = _content(container)
    return len(found) == len(content) and all(a is b for a, b in zip(found, content, strict=True))


def _refill(container: Any, content: list[Any]) -> None:
    container.clear()
    if isinstance(container, dict):
        half = len(content) // 2
        container.update(zip(content[:half], content[half:], strict=True))
    elif isinstance(container, list):
        container.extend(content)
    else:
        container.update(content)
