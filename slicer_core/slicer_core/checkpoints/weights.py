"""Which mapping of a saved tree holds the model's weights: the only one, or the one that the user names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from slicer_core.errors import CheckpointError

USUAL_KEYS = (
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "ema",
    "model_ema",
    "ema_model",
    "state_dict_ema",
    "ema_state_dict",
    "params_ema",
)
TOP = "."
"""How the user names the tensors that lie under no key."""

_MAX_DEPTH = 4
_NO_WEIGHTS = re.compile(r"optim(izer)?|sched(uler)?|scaler|rng|random_state|data_?loader|sampler", re.IGNORECASE)
_EXTRA_STATE = "_extra_state"

WeightSets = dict[str, dict[str, Any]]


def find_weights(
    tree: Mapping[Any, Any], is_tensor: Callable[[Any], bool], path: Path, key: str | None
) -> tuple[str, dict[str, Any]]:
    """The key (`.` for none) and the tensors by name of the tree's weights.

    A set is a mapping whose entries are tensors, at any key of the first levels that is not an optimizer's or the
    like. Which of several is meant is never guessed: `key`, a dotted path, has to tell. It may also be the prefix of
    names that lie in one mapping.

    Raises:
        CheckpointError: there is no set, there are several, or `key` is not one of them.
    """
    found = weight_sets(tree, is_tensor)
    if key is not None:
        return key, _named(found, key, path)
    usual = [name for name in found if name.rpartition(".")[2] in USUAL_KEYS]
    pool = usual or list(found)
    if not pool:
        entries = ", ".join(str(entry)[:100] for entry in list(tree)[:6])
        raise CheckpointError(
            f"{path} is not a state dict: its entries are {entries or 'none'}; expected tensors by name, or a state "
            f"dict under a key such as {', '.join(USUAL_KEYS[:3])}"
        )
    shapes = _shapes(found[pool[0]])
    rivals = [name for name in found if name in pool or _shapes(found[name]) == shapes]
    if len(rivals) > 1:
        raise CheckpointError(
            f"{path} holds several sets of weights, and which one is meant is not guessed: "
            f"{_listed(found, rivals)}. Give --weights KEY with one of these keys"
        )
    return pool[0], found[pool[0]]


def weight_sets(tree: Mapping[Any, Any], is_tensor: Callable[[Any], bool]) -> WeightSets:
    """Dotted path -> tensors by name, of every mapping in the tree that can be a model's state."""
    found: WeightSets = {}
    seen: set[int] = set()

    def visit(node: Mapping[Any, Any], path: tuple[str, ...]) -> None:
        # A mapping may hold itself, or be held by many.
        if id(node) in seen or len(path) > _MAX_DEPTH:
            return
        seen.add(id(node))
        tensors = {str(name): value for name, value in node.items() if is_tensor(value)}
        others = {name: value for name, value in node.items() if not is_tensor(value)}
        if any(len(tensor.shape) > 0 for tensor in tensors.values()) and all(map(_is_beside, others.values(), others)):
            found[".".join(path) or TOP] = tensors
        for name, value in others.items():
            if isinstance(name, str) and isinstance(value, Mapping) and not _is_no_set(name):
                visit(value, (*path, name))

    visit(tree, ())
    return found


def extra_states(tree: Any, key: str) -> dict[str, Any]:
    """What modules have saved besides tensors, by name, in the mapping at the key of a set of weights."""
    for part in () if key == TOP else key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    entries = tree.items() if isinstance(tree, Mapping) else ()
    return {name: value for name, value in entries if isinstance(name, str) and name.endswith(_EXTRA_STATE)}


def under_prefix(names: Iterable[str], key: str, path: Path) -> dict[str, str]:
    """Name without the prefix `key.` -> the name itself, for a file whose names lie in one mapping; `.` takes all.

    Raises:
        CheckpointError: no name has the prefix.
    """
    there = list(names)
    under = _under(there, key)
    if not under:
        prefixes = sorted({name.partition(".")[0][:100] for name in there})
        raise CheckpointError(
            f"{path} has no weights under --weights {key!r}; its names begin with "
            f"{', '.join(prefixes[:8]) or 'nothing'}"
        )
    return under


def _under(names: Iterable[str], key: str) -> dict[str, str]:
    prefix = "" if key == TOP else f"{key}."
    return {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}


def _is_no_set(name: str) -> bool:
    return name.endswith(_EXTRA_STATE) or _NO_WEIGHTS.search(name) is not None


def _is_beside(value: Any, name: Any) -> bool:
    """Whether an entry may stand among a state's tensors: numbers and texts, other states, what a module adds."""
    return (
        value is None
        or isinstance(value, (bool, int, float, str, Mapping))
        or (isinstance(name, str) and _is_no_set(name))
    )


def _named(found: WeightSets, key: str, path: Path) -> dict[str, Any]:
    if key in found:
        return found[key]
    for tensors in found.values():
        under = _under(tensors, key)
        if under:
            return {name: tensors[full] for name, full in under.items()}
    raise CheckpointError(f"{path} has no weights under --weights {key!r}; there are {_listed(found, found) or 'none'}")


def _listed(found: WeightSets, names: Iterable[str]) -> str:
    shown = [f"{name[:100]} ({len(found[name])} tensors)" for name in names]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


def _shapes(tensors: Mapping[str, Any]) -> list[tuple[int, ...]]:
    return sorted(tuple(tensor.shape) for tensor in tensors.values())
