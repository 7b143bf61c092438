"""Batches taken apart into their tensors and put together again, whatever holds them.

torch's own flattening knows tuples, lists and dictionaries. Tokenizers and collate functions also give `UserDict`s
(transformers' `BatchEncoding` is one), classes derived from `dict`, and dataclasses, which it takes for leaves. Here
they are nestings too, and the user's code gets them back as what they were. torch is not told of their classes, since
that would hold for all of the user's program.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils import _pytree as pytree  # the flattening that torch.export itself uses

Structure = pytree.TreeSpec


def flatten(data: Any) -> tuple[list[Any], Structure]:
    """The leaves in the nesting's order, and what `unflatten` puts them together by."""
    return pytree.tree_flatten(_opened(data))


def unflatten(leaves: Sequence[Any], structure: Structure) -> Any:
    """The nesting with other leaves."""
    return pytree.tree_unflatten(leaves, structure)


def leaves_of(data: Any) -> list[Any]:
    """The leaves in the nesting's order."""
    return flatten(data)[0]


def map_leaves(function: Callable[[Any], Any], data: Any) -> Any:
    """The same nesting with what the function gives for each leaf."""
    leaves, structure = flatten(data)
    return unflatten([function(leaf) for leaf in leaves], structure)


class _Form:
    """A container without what it holds. Alike are those of one class with the same names."""

    def __init__(self, container: Any, names: Sequence[Any]) -> None:
        self._kind, self._names = type(container), tuple(names)
        # Besides its entries it may have attributes of its own.
        self._empty = copy.copy(container)
        if isinstance(container, UserDict):
            self._empty.data = {}
        elif isinstance(container, dict):
            dict.clear(self._empty)
        else:
            _set_all(self._empty, dict.fromkeys(names))

    def filled(self, values: Sequence[Any]) -> Any:
        """A container like it with these entries."""
        made, entries = copy.copy(self._empty), dict(zip(self._names, values, strict=True))
        if isinstance(made, UserDict):
            made.data = entries
        elif isinstance(made, dict):
            dict.update(made, entries)
        else:
            _set_all(made, entries)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Form) and (self._kind, self._names) == (other._kind, other._names)

    def __hash__(self) -> int:
        return hash((self._kind, self._names))

    def __repr__(self) -> str:
        return f"{self._kind.__module__}.{self._kind.__qualname__}{self._names}"


def _set_all(made: Any, entries: Mapping[str, Any]) -> None:
    """Of a dataclass, which may be frozen."""
    for name, value in entries.items():
        object.__setattr__(made, name, value)


@dataclasses.dataclass(frozen=True)
class _Open:
    """A container that torch does not know, as one that it does."""

    form: _Form
    values: list[Any]


pytree.register_pytree_node(
    _Open, lambda opened: (opened.values, opened.form), lambda values, form: form.filled(list(values))
)


def _opened(data: Any) -> Any:
    """The nesting with each such container in it opened; what torch knows stays as it is."""
    return pytree.tree_map(_opened_leaf, data)


def _opened_leaf(leaf: Any) -> Any:
    if isinstance(leaf, UserDict):
        names, values = list(leaf.data), list(leaf.data.values())
    elif isinstance(leaf, dict):
        names, values = list(dict.keys(leaf)), list(dict.values(leaf))
    elif dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
        names = [field.name for field in dataclasses.fields(leaf) if hasattr(leaf, field.name)]
        values = [getattr(leaf, name) for name in names]
    else:
        return leaf
    return _Open(_Form(leaf, names), [_opened(value) for value in values])
