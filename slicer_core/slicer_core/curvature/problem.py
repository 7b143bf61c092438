"""`CurvatureProblem`: which second derivative, of which loss, over which parameters, as a product with vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import torch

from slicer_core.errors import UsageError
from slicer_core.evaluate import EvaluationSettings
from slicer_core.evaluate.gradient import DifferentiableLoss
from slicer_core.extra import needing_extra
from slicer_core.parameters import NamedTensors
from slicer_core.subject import ModelWrapper, SplitData

CurvatureKind = Literal["hessian", "ggn"]
CURVATURES: tuple[str, ...] = get_args(CurvatureKind)


@dataclass(frozen=True, kw_only=True)
class CurvatureProblem:
    """The Hessian or Gauss-Newton matrix of the loss of a whole split at a point, over the parameters `names`.

    `state` has every parameter and buffer at the point. `settings`: dtype and weight decay, which adds λ to the
    diagonal. `tick` is called after each product with a vector, and may raise to stop.
    """

    wrapper: ModelWrapper
    data: SplitData
    state: NamedTensors
    names: Sequence[str]
    settings: EvaluationSettings
    kind: CurvatureKind = "hessian"
    tick: Callable[[], None] | None = None

    def matrix(self) -> SymmetricMatrix:
        """The matrix at the point.

        Raises:
            UsageError: the extra is missing, or there is no such curvature of this loss.
        """
        if self.kind not in CURVATURES:
            raise UsageError(f"--curvature {self.kind!r} is not one of {', '.join(CURVATURES)}")
        with needing_extra():
            from slicer_core.curvature.operators import GaussNewton, LossHessian
        loss = DifferentiableLoss(self.wrapper, self.data, self.state, self.names, settings=self.settings)
        operator = (
            LossHessian(loss, self.tick) if self.kind == "hessian" else GaussNewton(loss, self.wrapper, self.tick)
        )

        def product(vectors: np.ndarray) -> np.ndarray:
            given = torch.from_numpy(np.ascontiguousarray(vectors)).to(operator.device, operator.dtype)
            return cast("torch.Tensor", operator @ given).cpu().double().numpy()

        shapes = {name: tuple(parameter.shape) for name, parameter in loss.parameters.items()}
        return SymmetricMatrix(shapes=shapes, product=product, move_to=loss.move_to)


@dataclass(frozen=True, kw_only=True)
class SymmetricMatrix:
    """A matrix over named tensors, of which vectors are the flattened entries one after another, in float64.

    `product` takes (P,) or (P, k). `move_to(point)` goes to another point, given by some of its tensors.
    """

    shapes: dict[str, tuple[int, ...]]
    product: Callable[[np.ndarray], np.ndarray]
    move_to: Callable[[NamedTensors], None]

    @property
    def size(self) -> int:
        """P, the number of entries of a vector."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    def named(self, vector: np.ndarray) -> dict[str, torch.Tensor]:
        """A vector (P,) as named tensors, float64."""
        parts = self.by_name(vector)
        return {name: torch.from_numpy(part.reshape(self.shapes[name]).copy()) for name, part in parts.items()}

    def by_name(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """The parts (n,) of a vector (P,) that belong to each tensor."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes.values()])
        return dict(zip(self.shapes, np.split(vector, ends[:-1]), strict=True))
