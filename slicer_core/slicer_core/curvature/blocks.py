"""The curvature of one layer at a time: diagonal blocks of the whole matrix, as if all other layers stood still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from slicer_core.curvature.eigenpairs import DEFAULT_PRODUCTS, DEFAULT_TOLERANCE, Eigenpairs, Which, eigenpairs

if TYPE_CHECKING:
    from slicer_core.curvature.problem import CurvatureProblem


def layer_of(name: str) -> str:
    """The module that a parameter belongs to; a parameter of the model itself is a layer of its own."""
    return name.rpartition(".")[0] or name


def layers_of(names: Sequence[str]) -> Mapping[str, list[str]]:
    """Layer -> its parameters, in their order."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(layer_of(name), []).append(name)
    return found


def layer_eigenvalues(
    problem: CurvatureProblem,
    *,
    which: Which = "top",
    seed: int = 0,
    tolerance: float = DEFAULT_TOLERANCE,
    max_products: int = DEFAULT_PRODUCTS,
) -> dict[str, Eigenpairs]:
    """Layer -> the extreme eigenpair of its block, with at most `max_products` products each.

    Raises:
        ConvergenceError: the products were not enough for one of them.
    """
    return {
        layer: eigenpairs(
            replace(problem, names=names).matrix(),
            1,
            which=which,
            seed=seed,
            tolerance=tolerance,
            max_products=max_products,
        )
        for layer, names in layers_of(problem.names).items()
    }
