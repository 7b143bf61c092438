"""Slices along the eigenvectors of the loss's curvature: the directions in which it bends most, or least.

Yao, Gholami, Keutzer, Mahoney, "PyHessian: neural networks through the lens of the Hessian", IEEE Big Data 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from slicer_core import slices
from slicer_core.curvature import (
    CURVATURES,
    DEFAULT_PRODUCTS,
    DEFAULT_TOLERANCE,
    CurvatureKind,
    CurvatureProblem,
    Eigenpairs,
    Which,
    eigenpairs,
    layer_eigenvalues,
)
from slicer_core.errors import UsageError
from slicer_core.evaluate.gradient import DifferentiableLoss
from slicer_core.methods.method import CenterPoint, Method, SliceOptions, axis_settings, refuse_interpolation
from slicer_core.methods.preparation import Made, refuse_lazy
from slicer_core.methods.slicer import GridRange, GridSize, Point, Slicer
from slicer_core.parameters import NamedTensors, cosine_of, norm, products, subset
from slicer_core.plan import PointBlock, SlicePlan, axis_values, grid_coefficients
from slicer_core.slices import Measure, Slice

WHICH = ("top", "bottom", "both")
_LEAST_LOSS = 0.1


@dataclass(frozen=True, kw_only=True)
class _Hessian(Method):
    """Options of both methods.

    `which`: the eigenvectors of the largest eigenvalues (`top`), of the smallest (`bottom`), or one of each (`both`).
    `blocks`: also the top eigenvalue of each layer's diagonal block.
    """

    curvature: str = "hessian"
    which: str = "top"
    eigen_tolerance: float = DEFAULT_TOLERANCE
    products: int = DEFAULT_PRODUCTS
    blocks: bool = False

    def __post_init__(self) -> None:
        if self.curvature not in CURVATURES:
            raise UsageError(f"--curvature {self.curvature!r} is not one of {', '.join(CURVATURES)}")
        if self.which not in WHICH:
            raise UsageError(f"--which {self.which!r} is not one of {', '.join(WHICH)}")

    def _made(self, center: CenterPoint, options: SliceOptions, ends: Sequence[tuple[Which, int]]) -> Made:
        refuse_lazy(center.state, "the curvature")
        names = list(center.varying(options))
        if center.preparation.rehearsal:
            return _placeholder(subset(center.state, names), sum(count for _, count in ends))
        return center.preparation.kept("eigenvectors", lambda: self._make(center, options, names, ends))

    def _make(
        self, center: CenterPoint, options: SliceOptions, names: list[str], ends: Sequence[tuple[Which, int]]
    ) -> Made:
        preparation, wrapper = center.preparation, center.wrapper
        problem = CurvatureProblem(
            wrapper=wrapper,
            data=preparation.data(wrapper),
            state=center.state,
            names=names,
            settings=preparation.settings,
            kind=cast("CurvatureKind", self.curvature),
            tick=lambda: preparation.advance(1.0),
        )
        preparation.begin("eigenvectors", self.products)
        matrix = problem.matrix()
        limits: dict[str, Any] = {
            "seed": options.seed,
            "tolerance": self.eigen_tolerance,
            "max_products": self.products,
        }
        found = [eigenpairs(matrix, count, which=which, **limits) for which, count in ends]
        vectors = [
            {name: part.to(center.state[name]) for name, part in matrix.named(pairs.vectors[:, index]).items()}
            for pairs in found
            for index in range(len(pairs.values))
        ]
        loss = DifferentiableLoss(wrapper, problem.data, center.state, names, settings=preparation.settings)
        facts: dict[str, Any] = {
            "eigenvalues": [float(value) for pairs in found for value in pairs.values],
            "residuals": [float(value) for pairs in found for value in pairs.residuals],
            "products": sum(pairs.products for pairs in found),
            "loss": loss.value(),
        }
        if self.blocks:
            facts["layers"] = _by_layer(layer_eigenvalues(problem, **limits))
        return Made(vectors=tuple(vectors), facts=facts)

    def _plan(
        self, slice_type: str, center: CenterPoint, options: SliceOptions, ends: Sequence[tuple[Which, int]]
    ) -> SlicePlan:
        refuse_interpolation(options)
        made = self._made(center, options, ends)
        vectors, eigenvalues, residuals = made.vectors, made.facts["eigenvalues"], made.facts["residuals"]
        reach = norm(subset(center.state, list(center.varying(options)))) or 1.0
        limits = tuple((-limit, limit) for limit in (_limit(made.facts["loss"], value, reach) for value in eigenvalues))
        settings = axis_settings(options, grid=(51,) * len(vectors), range=limits)
        squares = products(vectors)
        axes = tuple(
            slices.Axis(
                name=f"eigenvector_{index + 1}",
                label=f"eigenvector {index + 1} (λ = {eigenvalues[index]:.4g})",
                values=axis_values(low, high, points),
            )
            for index, (points, low, high) in enumerate(settings)
        )
        kinds = [which for which, count in ends for _ in range(count)]
        return SlicePlan(
            slice_type=slice_type,
            geometry="grid" if len(vectors) == 2 else "curve",
            axes=axes,
            blocks=(PointBlock(directions=lambda: vectors, coefficients=grid_coefficients(axes)),),
            directions=tuple(
                slices.Direction(
                    name=axis.name,
                    recipe={
                        "kind": "eigenvector",
                        "curvature": self.curvature,
                        "which": kinds[index],
                        "split": center.preparation.split or center.wrapper.splits[0],
                        "seed": options.seed,
                        "tolerance": self.eigen_tolerance,
                        "residual": residuals[index],
                        "products": made.facts["products"],
                    },
                    norm=math.sqrt(squares[index][index]),
                    eigenvalue=eigenvalues[index],
                )
                for index, axis in enumerate(axes)
            ),
            cosine=cosine_of(squares) if len(vectors) == 2 else None,
            measures=_measures(made, self.curvature),
            notes=(
                f"eigenvectors take up to {self.products} products with the curvature at each checkpoint, each about "
                "four forward passes of the split, which are not counted here",
            )
            if center.preparation.rehearsal
            else (),
        )


@dataclass(frozen=True, kw_only=True)
class Hessian1D(_Hessian):
    """θ₀ + α·v with the eigenvector of the largest eigenvalue, or of the smallest."""

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        if self.which == "both":
            raise UsageError("--which both needs two axes: give top or bottom, or --method hessian2d")
        return self._plan("hessian_1d", center, options, [(cast("Which", self.which), 1)])


@dataclass(frozen=True, kw_only=True)
class Hessian2D(_Hessian):
    """θ₀ + α₀·v₀ + α₁·v₁ with two eigenvectors."""

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        ends: list[tuple[Which, int]] = (
            [("top", 1), ("bottom", 1)] if self.which == "both" else [(cast("Which", self.which), 2)]
        )
        return self._plan("hessian_2d", center, options, ends)


class HessianSlicer(Slicer):
    """Slices of a wrapped model along eigenvectors of its loss's curvature; needs the extra `curvature`."""

    def slice_1d(
        self,
        center_point: Point | None = None,
        n_samples: int = 51,
        range: tuple[float, float] | None = None,
        *,
        which: str = "top",
        curvature: str = "hessian",
        seed: int = 0,
        params: tuple[str, ...] = (),
    ) -> Slice:
        """Loss along one eigenvector around `center_point` (default: the current parameters).

        `range` is in units of length; the default is where a parabola of that curvature rises by max(L₀, 0.1)/2.

        Raises:
            SlicerError: an argument does not fit the model or its data, or the eigenvector is not found.
        """
        options = SliceOptions.given(1, n_samples, range, params=params, seed=seed)
        return self.take("hessian1d", Hessian1D(which=which, curvature=curvature), center_point, options)

    def slice_2d(
        self,
        center_point: Point | None = None,
        grid_size: GridSize = 25,
        range: GridRange | None = None,
        *,
        which: str = "top",
        curvature: str = "hessian",
        seed: int = 0,
        params: tuple[str, ...] = (),
    ) -> Slice:
        """Loss on the plane of two eigenvectors; see `slice_1d`.

        Raises:
            SlicerError: an argument does not fit the model or its data, or the eigenvectors are not found.
        """
        options = SliceOptions.given(
            2,
            grid_size,
            range,
            params=params,
            seed=seed,
        )
        return self.take("hessian2d", Hessian2D(which=which, curvature=curvature), center_point, options)


def _limit(loss: float, eigenvalue: float, reach: float) -> float:
    """Where ½|λ|α² = ½·max(L₀, 0.1), but no farther than the center is from zero: λ may be next to nothing."""
    rise = max(loss, _LEAST_LOSS) if math.isfinite(loss) else _LEAST_LOSS
    return min(math.sqrt(rise / abs(eigenvalue)), reach) if eigenvalue else reach


def _placeholder(parameters: NamedTensors, count: int) -> Made:
    length = math.sqrt(sum(tensor.numel() for tensor in parameters.values()))
    vector = {name: torch.full_like(tensor, 1 / length) for name, tensor in parameters.items()}
    facts = {"eigenvalues": [1.0] * count, "residuals": [0.0] * count, "products": 0, "loss": 1.0}
    return Made(vectors=(vector,) * count, facts=facts)


def _by_layer(found: dict[str, Eigenpairs]) -> dict[str, dict[str, float]]:
    return {
        layer: {"eigenvalue": float(pairs.values[0]), "residual": float(pairs.residuals[0])}
        for layer, pairs in found.items()
    }


def _measures(made: Made, curvature: str) -> dict[str, Measure]:
    """The eigenvalues; that of which layer is largest, with all of them."""
    facts = made.facts
    found = {
        f"eigenvalue_{index + 1}": Measure(value=value, details={"residual": residual, "curvature": curvature})
        for index, (value, residual) in enumerate(zip(facts["eigenvalues"], facts["residuals"], strict=True))
    }
    layers = facts.get("layers")
    if layers:
        names = list(layers)
        largest = names[int(np.argmax([layers[name]["eigenvalue"] for name in names]))]
        found["layer_eigenvalue"] = Measure(
            value=layers[largest]["eigenvalue"], details={"layer": largest, "layers": layers, "curvature": curvature}
        )
    return found
