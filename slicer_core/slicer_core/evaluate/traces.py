"""What was captured of each wrapper, kept from one evaluation to the next."""

from __future__ import annotations

import weakref
from typing import Any

import torch

from slicer_core.evaluate.decisions import Decisions
from slicer_core.evaluate.python_values import python_values
from slicer_core.evaluate.strategies import Traces
from slicer_core.subject import ModelWrapper

# By precision and device: what is fastest on one need not be so on another.
_TRACES: weakref.WeakKeyDictionary[ModelWrapper, dict[tuple[torch.dtype | None, torch.device], Traces]] = (
    weakref.WeakKeyDictionary()
)

# What the Python code held that was captured.
_VALUES: weakref.WeakKeyDictionary[ModelWrapper, dict[str, Any]] = weakref.WeakKeyDictionary()


def traces_of(wrapper: ModelWrapper, dtype: torch.dtype | None) -> Traces:
    """Those of the wrapper in that precision, on its device."""
    return _TRACES.setdefault(wrapper, {}).setdefault((dtype, wrapper.device), Traces())


def decide_alike(wrapper: ModelWrapper, dtype: torch.dtype | None, decisions: Decisions) -> None:
    """Evaluations of the wrapper take what is decided there, and add to it what is not."""
    traces = traces_of(wrapper, dtype)
    traces.decisions, traces.decides_alike = decisions, True


def forget_if_changed(wrapper: ModelWrapper) -> None:
    """Lets go of what was captured of the wrapper where its Python code holds other values now; see `python_values`.

    Before it is `evaluating`, which changes some of them.
    """
    values = python_values(wrapper)
    if _VALUES.setdefault(wrapper, values) != values:
        _VALUES[wrapper] = values
        for traces in _TRACES.get(wrapper, {}).values():
            traces.forget()
