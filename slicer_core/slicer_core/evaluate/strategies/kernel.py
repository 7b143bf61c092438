"""What every strategy answers: the terms of a chunk of a block's points on one batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from torch import Tensor

from slicer_core.errors import SlicerError
from slicer_core.evaluate.objective import Objective
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch

ChunkTerms = dict[str, tuple[Tensor, Tensor]]
"""Quantity -> (sums, counts), each of shape (points of the chunk, entries of the batch)."""

# How many points a trial runs together, where that many at once are not the point of it. A GPU is waited for after each
# trial of so many, which in a job happens once a chunk.
_TRIAL_POINTS = {"cpu": 4}
_TRIAL_POINTS_ELSEWHERE = 32


class CannotEvaluateError(Exception):
    """Why a strategy can't run a block on a batch; the loop can."""


FAILURES = (SlicerError, CannotEvaluateError, RuntimeError, ValueError, TypeError, LookupError)
"""What a strategy may raise of a model that the loop runs."""


class Kernel(ABC):
    """One block of points around a center.

    `center` is in the precision in which weights are combined; what the model is run with is `held`, in the
    evaluation's dtype. `buffers`, where it is given, holds tensors for each point that take the place of the center's.
    """

    in_chunks: ClassVar[bool] = False
    """Whether a point alone takes about as long as a chunk of them."""

    is_light: bool = False
    """Whether what it holds is so little that it may wait while others run; known once it is prepared."""

    seconds_before: float | None = None
    """What another block of the same tensors does before its first point, where preparing this one has shown it."""

    def __init__(
        self,
        objective: Objective,
        center: NamedTensors,
        block: PointBlock,
        buffers: Sequence[NamedTensors] | None = None,
    ) -> None:
        self.objective = objective
        self.block = block
        self.center = dict(center)
        self.held = {name: objective.cast(tensor) for name, tensor in center.items()}
        self.directions = objective.directions_of(block)
        self.coefficients: np.ndarray = block.coefficients
        self.buffers = buffers
        self.varying = [name for name in center if any(name in direction for direction in self.directions)]

    def prepare(self, batch: Batch) -> None:  # noqa: B027 - most have nothing to do
        """Does what has to be done once before the batch's first point; `terms` does it otherwise.

        Raises:
            CannotEvaluateError: the strategy does not apply to the batch.
        """

    @abstractmethod
    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """The terms of the block's `points` on the batch."""

    def trial_size(self, batch: Batch) -> int:
        """How many points to time together."""
        return min(self.chunk_size(batch), _TRIAL_POINTS.get(self.objective.device.type, _TRIAL_POINTS_ELSEWHERE))

    @abstractmethod
    def chunk_size(self, batch: Batch) -> int:
        """How many points to ask for at a time."""
