"""What a model's own loading sets beside tensors, such as a scale as a number: attributes of its modules.

A slice's points are those of one checkpoint, and others may be loaded meanwhile.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

_OF_TORCH = frozenset(vars(nn.Module()))
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_ABSENT = object()


@dataclass(frozen=True)
class _Held:
    """The value of an attribute; a dict, list or set of plain values with what is in it."""

    value: Any
    content: Any = None

    @classmethod
    def of(cls, value: Any) -> _Held:
        if type(value) in (dict, list, set):
            inside = value.values() if isinstance(value, dict) else value
            if all(isinstance(one, _PLAIN) for one in inside):
                return cls(value, copy.copy(value))
        return cls(value)

    def is_still(self, value: Any) -> bool:
        return value is self.value and (self.content is None or value == self.content)

    def put_back(self, attributes: dict[str, Any], name: str) -> None:
        if self.value is _ABSENT:
            attributes.pop(name, None)
            return
        attributes[name] = self.value
        if self.content is not None and self.value != self.content:
            self.value.clear()
            (self.value.extend if isinstance(self.value, list) else self.value.update)(self.content)


_Attributes = dict[str, _Held]

# What loading has ever set: by module and name, as it was before.
_BUILT: WeakKeyDictionary[nn.Module, _Attributes] = WeakKeyDictionary()


class PythonSide:
    """The attributes of a model's modules as they are now, as far as its loading may set them."""

    def __init__(self, model: nn.Module) -> None:
        self._held = _attributes_of(model)

    def put_back(self) -> None:
        """Gives those that loading has set, now or since, the values that they had."""
        for module, held in self._held:
            for name in _BUILT.get(module, ()):
                held.get(name, _Held(_ABSENT)).put_back(vars(module), name)


@contextlib.contextmanager
def loading_anew(model: nn.Module) -> Iterator[None]:
    """What is loaded inside finds the attributes as they were built, whatever was loaded before it."""
    for module in model.modules():
        for name, built in _BUILT.get(module, {}).items():
            built.put_back(vars(module), name)
    before = _attributes_of(model)
    try:
        yield
    finally:
        for module, held in before:
            now = vars(module)
            for name in (now.keys() | held.keys()) - _OF_TORCH:
                was = held.get(name, _Held(_ABSENT))
                if not was.is_still(now.get(name, _ABSENT)):
                    _BUILT.setdefault(module, {}).setdefault(name, was)


def _attributes_of(model: nn.Module) -> list[tuple[nn.Module, _Attributes]]:
    return [
        (module, {name: _Held.of(value) for name, value in vars(module).items() if name not in _OF_TORCH})
        for module in model.modules()
    ]
