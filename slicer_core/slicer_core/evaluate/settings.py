"""`EvaluationSettings`: how points are evaluated, as one frozen value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from slicer_core.choices import CompileChoice, StrategyName
from slicer_core.errors import UsageError
from slicer_core.tolerance import Tolerance


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How points are evaluated.

    Args:
        batch_size: samples of a batch, where the data is tensors or a Dataset.
        samples: of each split, stratified by class and the same at every point; None for all, see `ModelWrapper.split`.
        dtype: None means the model's own; in float16 and bfloat16 weights are combined and losses taken in float32.
        strategy: "auto" takes what is fastest in trials.
        repeats: how many evaluations like this one are about to be made, for what pays only in the long run.
        memory_budget: bytes that it may take beyond what is held already, None for what is free.
        workers: how many processes, forked from this one, may share the points on a CPU where the data is in memory.
        compile: whether `torch.compile` may be tried; "auto" where the job is long enough to pay for it.
        weight_decay: λ of ½λ‖θ‖² over the parameters that are not frozen, which is added to the loss where a slice is
            put together; the sums are without it.
        tolerance: what a slice may differ by from its values at all points on all samples, see `evaluate_to_tolerance`;
            `evaluate` itself evaluates what it is given.

    Raises:
        UsageError: the weight decay is negative or not finite.
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

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight_decay < math.inf:
            raise UsageError(f"--weight-decay {self.weight_decay} is not a finite number from 0 up")
