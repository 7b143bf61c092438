"""`EvaluationSettings`: how points are evaluated, as one frozen value."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from slicer_core.choices import COMPILE_CHOICES, DTYPE_NAMES, STRATEGY_NAMES, CompileChoice, DtypeName, StrategyName
from slicer_core.errors import UsageError
from slicer_core.evaluate.memory import parse_bytes
from slicer_core.tolerance import Tolerance

_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_NAMES}


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How points are evaluated.

    Args:
        batch_size: samples of a batch, where the data is tensors or a Dataset.
        samples: of each split, stratified by class and the same at every point; None for all, see `ModelWrapper.split`.
        dtype: torch's or its name, as in "bfloat16"; None means the model's own. In float16 and bfloat16 weights are
            combined and losses taken in float32.
        strategy: "auto" takes what is fastest in trials.
        repeats: how many evaluations like this one are about to be made, for what pays only in the long run.
        memory_budget: bytes that it may take beyond what is held already, or a size as in "4GiB"; None for what is
            free.
        workers: how many processes, forked from this one, may share the points on a CPU where the data is in memory.
        compile: whether `torch.compile` may be tried; "auto" where the job is long enough to pay for it.
        weight_decay: λ of ½λ‖θ‖² over the parameters that are not frozen, which is added to the loss where a slice is
            put together; the sums are without it.
        tolerance: what a slice may differ by from its values at all points on all samples, see `evaluate_to_tolerance`:
            a loss as in 0.01, or a part of the center's as in "1%". `evaluate` itself evaluates what it is given.

    Raises:
        UsageError: a value is not one of these.
    """

    batch_size: int | None = None
    samples: int | None = None
    dtype: torch.dtype | None = None
    strategy: StrategyName = "auto"
    repeats: int = 1
    memory_budget: int | None = None
    workers: int = 1
    compile: CompileChoice = "auto"
    weight_decay: float = 0.0
    tolerance: Tolerance | None = None

    if TYPE_CHECKING:
        # A field has one type, and what it may be given as has several.
        def __init__(
            self,
            *,
            batch_size: int | None = None,
            samples: int | None = None,
            dtype: torch.dtype | DtypeName | None = None,
            strategy: StrategyName = "auto",
            repeats: int = 1,
            memory_budget: int | str | None = None,
            workers: int = 1,
            compile: CompileChoice = "auto",
            weight_decay: float = 0.0,
            tolerance: Tolerance | float | str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        self._set("batch_size", _optional(_count), "a number of samples: give 1 or more, or None for the default")
        self._set("samples", _optional(_count), "a number of samples: give 1 or more, or None for all")
        self._set("dtype", _optional(_dtype), f"one of {', '.join(DTYPE_NAMES)}, or None for the model's own")
        self._set("strategy", _one_of(STRATEGY_NAMES), f"one of {', '.join(STRATEGY_NAMES)}")
        self._set("repeats", _count, "a number of evaluations: give 1 or more")
        self._set("memory_budget", _optional(_bytes), 'a size: give bytes, or a text as in "4GiB", or None')
        self._set("workers", _count, "a number of processes: give 1 or more")
        self._set("compile", _one_of(COMPILE_CHOICES), f"one of {', '.join(COMPILE_CHOICES)}")
        self._set("weight_decay", _decay, "a finite number from 0 up")
        self._set("tolerance", _optional(_tolerance), 'a loss as in 0.01, or a part of the center\'s as in "1%"')

    def _set(self, name: str, read: Callable[[Any], Any], expected: str) -> None:
        """Puts what `read` makes of the field's value in its place."""
        value = getattr(self, name)
        try:
            object.__setattr__(self, name, read(value))
        except (TypeError, ValueError):
            raise UsageError(f"EvaluationSettings: {name}={value!r} is not {expected}") from None


def _optional(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError
    return int(value)


def _dtype(value: Any) -> torch.dtype:
    dtype = _DTYPES.get(value.removeprefix("torch.")) if isinstance(value, str) else value
    if not isinstance(dtype, torch.dtype) or dtype not in _DTYPES.values():
        raise ValueError
    return dtype


def _one_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in names:
            raise ValueError
        return value

    return read


def _bytes(value: Any) -> int:
    return parse_bytes(value, option="memory_budget") if isinstance(value, str) else _count(value)


def _decay(value: Any) -> float:
    decay = _number(value)
    if not 0.0 <= decay < math.inf:
        raise ValueError
    return decay


def _tolerance(value: Any) -> Tolerance:
    if isinstance(value, Tolerance):
        return value
    if isinstance(value, str):
        return Tolerance.parse(value, option="tolerance")
    return Tolerance(amount=_number(value))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError
    return float(value)
