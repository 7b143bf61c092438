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

from torch import Tensor
from torch.utils import _pytree as pytree  # the flattening that torch.export itself uses

Structure = pytree.TreeSpec
_MAPPINGS = (dict, UserDict)


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
    if _is_plain(data):
        return type(data)(function(leaf) for leaf in data)
    leaves, structure = flatten(data)
    return unflatten([function(leaf) for leaf in leaves], structure)


class _Form:
    """A container without what it holds. Alike are those of one class with the same names."""

    def __init__(self, container: Any, names: Sequence[Any]) -> None:
        self._kind, self._names = type(container), tuple(names)
        self._is_its_attributes = _attributes(container) is container
        # Besides its entries it may have attributes of its own.
        self._empty = copy.copy(container)
        if isinstance(container, _MAPPINGS):
            self._empty.clear()
        else:
            _set_all(self._empty, dict.fromkeys(names))
        if self._is_its_attributes:
            _set_all(self._empty, {"__dict__": self._empty})

    def filled(self, values: Sequence[Any]) -> Any:
        """A container like it with these entries."""
        made, entries = copy.copy(self._empty), dict(zip(self._names, values, strict=True))
        if isinstance(made, _MAPPINGS):
            made.update(entries)
        else:
            _set_all(made, entries)
        if self._is_its_attributes:
            _set_all(made, {"__dict__": made})
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Form) and (self._kind, self._names) == (other._kind, other._names)

    def __hash__(self) -> int:
        return hash((self._kind, self._names))

    def __repr__(self) -> str:
        return f"{self._kind.__module__}.{self._kind.__qualname__}{self._names}"


def _attributes(container: Any) -> Any:
    """What the container has beside its slots; itself where a class makes entries its attributes in that way."""
    return getattr(container, "__dict__", {})


def _set_all(made: Any, entries: Mapping[str, Any]) -> None:
    """Past what a class makes of it, as a frozen dataclass does."""
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
    if _is_plain(data):
        return data
    return pytree.tree_map(_opened_leaf, data)


def _is_plain(data: Any) -> bool:
    """Whether it is the usual batch, some tensors in a row; they are many, and torch's flattening is slow."""
    return type(data) in (tuple, list) and all(isinstance(leaf, Tensor) for leaf in data)


def _opened_leaf(leaf: Any) -> Any:
    if isinstance(leaf, _MAPPINGS):
        names = list(leaf)
        values, entries = [leaf[name] for name in names], {"data"} if isinstance(leaf, UserDict) else set[str]()
    elif dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
        names = [field.name for field in dataclasses.fields(leaf) if hasattr(leaf, field.name)]
        values, entries = [getattr(leaf, name) for name in names], set(names)
    else:
        return leaf
    attributes = _attributes(leaf)
    others = [] if attributes is leaf else [value for name, value in attributes.items() if name not in entries]
    if any(isinstance(value, Tensor) for value in pytree.tree_leaves(others)):
        # What was made from its entries would stay that of the batch that it was made for.
        return leaf
    return _Open(_Form(leaf, names), [_opened(value) for value in values])
