"""Eigenvalues and eigenvectors at the ends of a spectrum, by ARPACK's restarted Lanczos method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from slicer_core.curvature.problem import SymmetricMatrix
from slicer_core.errors import ConvergenceError, UsageError
from slicer_core.extra import needing_extra
from slicer_core.philox import standard_normal

Which = Literal["top", "bottom"]
WHICH: tuple[str, ...] = get_args(Which)
DEFAULT_TOLERANCE = 1e-4
DEFAULT_PRODUCTS = 2000
# Smaller matrices are written out, which costs no more than a Lanczos basis and is exact.
_DENSE_SIZE = 48


@dataclass(frozen=True, kw_only=True)
class Eigenpairs:
    """`values` (k,), `vectors` (P, k) of unit length, `residuals` (k,) = ‖Hv - λv‖, all float64.

    The top ones descend, the bottom ones ascend. Of each vector the entry of largest magnitude is positive. An
    eigenvalue of H lies within the residual of each value. `products`: how many products with H it took.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    products: int


def eigenpairs(
    matrix: SymmetricMatrix,
    count: int,
    *,
    which: Which = "top",
    seed: int = 0,
    tolerance: float = DEFAULT_TOLERANCE,
    max_products: int = DEFAULT_PRODUCTS,
    largest: float | None = None,
) -> Eigenpairs:
    """The `count` largest (`top`) or smallest (`bottom`) eigenvalues with their vectors.

    Lehoucq, Sorensen, Yang, "ARPACK users' guide", SIAM 1998, by `scipy.sparse.linalg.eigsh`. Residuals come down to
    `tolerance`·|λ|; of the bottom ones, whose λ may be next to zero, to `tolerance` times the width of the spectrum,
    for which the largest eigenvalue is found first unless it is given as `largest`.

    Raises:
        UsageError: the tolerance or the number of pairs or products can't be used, or the extra is missing.
        ConvergenceError: the products were not enough, or the curvature is not finite.
    """
    if which not in WHICH:
        raise UsageError(f"--which {which!r} is not one of {', '.join(WHICH)}")
    if not 0.0 < tolerance < 1.0:
        raise UsageError(f"--eigen-tolerance {tolerance:g} is not between 0 and 1")
    if max_products < 1:
        raise UsageError(f"--products {max_products} is not a number of products: give 1 or more")
    if not 1 <= count <= matrix.size:
        raise UsageError(f"{count} eigenvectors are wanted of {matrix.size} parameters that vary")
    counted = _Counted(matrix, max_products)
    if matrix.size <= max(_DENSE_SIZE, 2 * count + 2):
        values, vectors = _dense(counted, count, which)
    elif which == "top":
        values, vectors = _lanczos(counted, count, seed, tolerance, shift=0.0)
    else:
        if largest is None:
            largest = float(_lanczos(counted, 1, seed, 0.1, shift=0.0)[0][0])
        values, vectors = _lanczos(counted, count, seed, tolerance, shift=largest)
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(count)])
    products = matrix.product(vectors)
    return Eigenpairs(
        values=values,
        vectors=vectors,
        residuals=np.linalg.norm(products - vectors * values, axis=0),
        products=counted.used + count,
    )


class _Counted:
    """A matrix whose products are counted, limited and looked at."""

    def __init__(self, matrix: SymmetricMatrix, limit: int) -> None:
        self.size = matrix.size
        self.used = 0
        self._matrix = matrix
        self._limit = limit

    def product(self, vectors: np.ndarray) -> np.ndarray:
        self.used += 1 if vectors.ndim == 1 else vectors.shape[1]
        if self.used > max(self._limit, self.size if self.size <= _DENSE_SIZE else 0):
            raise ConvergenceError(
                f"the eigenvectors have not converged within {self._limit} products with the curvature: give more "
                "--products, or a larger --eigen-tolerance"
            )
        found = self._matrix.product(vectors)
        if not np.isfinite(found).all():
            raise ConvergenceError(
                "the curvature at the center is not finite, so it has no eigenvectors: the loss or its derivatives "
                "overflow there. Leave the step out, or give --dtype float64"
            )
        return found


def _dense(matrix: _Counted, count: int, which: Which) -> tuple[np.ndarray, np.ndarray]:
    full = matrix.product(np.eye(matrix.size))
    values, vectors = np.linalg.eigh((full + full.T) / 2)
    order = np.argsort(values)[:: -1 if which == "top" else 1][:count]
    return values[order], vectors[:, order]


def _lanczos(
    matrix: _Counted, count: int, seed: int, tolerance: float, *, shift: float
) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of H, descending; with a shift the smallest, ascending, as the largest of shift - H."""
    with needing_extra():
        from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    def product(vector: np.ndarray) -> np.ndarray:
        found = matrix.product(vector.reshape(-1))
        return shift * vector.reshape(-1) - found if shift else found

    operator = LinearOperator((matrix.size, matrix.size), matvec=product, dtype=np.float64)  # type: ignore[call-arg] - scipy's own stubs lack it
    try:
        values, vectors = eigsh(
            operator,
            k=count,
            which="LA",
            tol=tolerance,  # type: ignore[arg-type] - scipy's default is the integer 0
            v0=standard_normal(f"{seed}/lanczos", 0, matrix.size),
            maxiter=max(1, matrix.size),
        )
    except ArpackNoConvergence as error:
        raise ConvergenceError(
            f"the eigenvectors have not converged in {matrix.used} products with the curvature: give a larger "
            "--eigen-tolerance, or --dtype float64"
        ) from error
    order = np.argsort(-values)
    found = values[order]
    return (shift - found if shift else found), vectors[:, order]
