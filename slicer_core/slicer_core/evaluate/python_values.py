"""What Python code around a model holds besides its tensors, and a captured graph has in it as it was then.

A threshold that is annealed, a flag that is switched, a hook that is added: with another value it is another graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from slicer_core.subject import ModelWrapper

_SIMPLE = (bool, int, float, complex, str, bytes, type(None))
_DEPTH = 3
# Of a longer list only its length and identity count.
_LONG = 1000
# Set by `evaluating` itself, or given to a graph at each run.
_PASSED_OVER = ("training", "_parameters", "_buffers", "_modules")


def python_values(wrapper: ModelWrapper) -> dict[str, Any]:
    """All plain values that the modules and functions of a loss hold, by where they are; equal if nothing changed.

    Of what is neither plain nor a tensor, a hook or a function, nothing is known.
    """
    found: dict[str, Any] = {}
    for name, module in wrapper.model.named_modules():
        _of_module(f"model {name}", module, found)
    functions = {"loss": wrapper.form.module or wrapper.loss_fn, "batch_loss": wrapper.batch_loss, **wrapper.metrics}
    for name, function in functions.items():
        _of_function(name, function, found)
    return found


def _of_module(place: str, module: nn.Module, found: dict[str, Any]) -> None:
    for key, value in vars(module).items():
        if key.endswith("_hooks") and isinstance(value, Mapping):
            found[f"{place} {key}"] = tuple(map(id, value.values()))
        elif key not in _PASSED_OVER and (plain := _plain(value, _DEPTH)) is not None:
            found[f"{place} {key}"] = plain


def _of_function(place: str, function: Any, found: dict[str, Any]) -> None:
    if isinstance(function, nn.Module):
        for name, module in function.named_modules():
            _of_module(f"{place} {name}", module, found)
    elif isinstance(function, partial):
        found[f"{place} arguments"] = _plain((*function.args, function.keywords), _DEPTH)
        _of_function(place, function.func, found)
    elif isinstance(function, MethodType):
        owner = function.__self__
        if isinstance(owner, nn.Module):
            _of_function(f"{place} self", owner, found)
        else:
            found[f"{place} self"] = _plain(getattr(owner, "__dict__", None), _DEPTH)
        _of_function(place, function.__func__, found)
    elif isinstance(function, FunctionType):
        _of_code(place, function, found)


def _of_code(place: str, function: FunctionType, found: dict[str, Any]) -> None:
    code = function.__code__
    # Another function of the same name has other code.
    found[f"{place} code"] = code
    found[f"{place} defaults"] = _plain((function.__defaults__, function.__kwdefaults__), _DEPTH)
    given = {name: function.__globals__[name] for name in code.co_names if name in function.__globals__}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            given[name] = cell.cell_contents
        except ValueError:
            continue
    for name, value in given.items():
        found[f"{place} {name}"] = _plain(value, _DEPTH)


def _plain(value: Any, depth: int) -> Any:
    """Something that is equal only to that of the same values; None for what nothing is known of."""
    if isinstance(value, _SIMPLE):
        # With its type: 1 == True.
        return type(value).__name__, repr(value)
    if isinstance(value, Tensor):
        # What a forward pass left is of no pass to come, and parameters move while a network is trained.
        is_passing = value.grad_fn is not None or isinstance(value, nn.Parameter)
        return None if is_passing else (id(value), value._version)
    if isinstance(value, (Mapping, list, tuple, set, frozenset)) and len(value) > _LONG:
        return "long", id(value), len(value)
    if depth and isinstance(value, Mapping):
        return tuple((repr(key), _plain(entry, depth - 1)) for key, entry in value.items())
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        return type(value).__name__, tuple(_plain(entry, depth - 1) for entry in value)
    return ("callable", id(value)) if isinstance(value, Callable) and not isinstance(value, (type, nn.Module)) else None
