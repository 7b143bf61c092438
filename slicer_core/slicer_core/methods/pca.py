"""The plane of the first two principal components of a training's path.

Lorch, "Visualizing deep network training trajectories with PCA", ICML workshop on visualization for deep learning 2016;
Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018, section 7, who center at the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from slicer_core import slices
from slicer_core.choices import BatchNormPolicy
from slicer_core.directions import PathPoint, combined, gram_matrix, open_points, principal_axes
from slicer_core.errors import UsageError
from slicer_core.methods.method import CenterPoint, Method, SliceOptions, axis_settings, refuse_interpolation
from slicer_core.methods.slicer import GridRange, GridSize, Point, Slicer, full_state
from slicer_core.methods.trajectory import ranges_around, trajectory_of
from slicer_core.parameters import cosine_of, norm, products
from slicer_core.plan import PointBlock, SlicePlan, axis_values, grid_coefficients
from slicer_core.slices import Slice

_MARGIN = 1.2
_FEWEST = 3


@dataclass(frozen=True, kw_only=True)
class PCA2D(Method):
    """θ_last + α₀·d₀ + α₁·d₁, with d the first principal components of all checkpoints, each of norm one.

    The variance is around the checkpoints' mean, the origin at the last one (or where `--center` says). All floating
    parameters move, frozen ones included. The first checkpoint has positive coordinates.
    """

    default_batchnorm = "recompute"

    @property
    def uses_path(self) -> bool:
        """All of them."""
        return True

    @property
    def center(self) -> str:
        """The last checkpoint."""
        return "last"

    def plan(self, center: CenterPoint, options: SliceOptions) -> SlicePlan:
        """See `Method`."""
        refuse_interpolation(options)
        if len(center.path) < _FEWEST:
            raise UsageError(
                f"the path of {len(center.path)} checkpoint{'s' * (len(center.path) != 1)} spans no plane: pca2d needs "
                f"{_FEWEST} or more that are not on one line"
            )
        names = center.movable(options)
        points = open_points(center.path)
        gram = gram_matrix(points, center.state, names)
        _check_finite(gram, center.path)
        found = principal_axes(gram, 2)
        vectors = tuple(combined(points, center.state, names, weights) for weights in found.weights.tolist())
        trajectory = trajectory_of(center, points, vectors, guess=found.coordinates)
        settings = axis_settings(options, grid=(51, 51), range=ranges_around(trajectory.coordinates, _MARGIN))
        axes = tuple(
            slices.Axis(
                name=f"component_{index}",
                label=f"principal component {index + 1} ({100 * found.explained[index]:.3g} %)",
                values=axis_values(low, high, number),
            )
            for index, (number, low, high) in enumerate(settings)
        )
        steps = [point.step for point in center.path]
        return SlicePlan(
            slice_type="pca_2d",
            geometry="grid",
            axes=axes,
            blocks=(PointBlock(directions=lambda: vectors, coefficients=grid_coefficients(axes)),),
            directions=tuple(
                slices.Direction(
                    name=f"component_{index}",
                    recipe={"kind": "principal_component", "component": index, "steps": steps},
                    norm=norm(vector),
                    explained_variance=found.explained[index],
                )
                for index, vector in enumerate(vectors)
            ),
            cosine=cosine_of(products(vectors)),
            trajectory=trajectory,
        )


class PCASlicer(Slicer):
    """Slices of a wrapped model on the plane of a training's path."""

    def slice(
        self,
        checkpoints: Mapping[int, Point] | Sequence[Point],
        grid_size: GridSize = 51,
        range: GridRange | None = None,
        *,
        params: tuple[str, ...] = (),
        batchnorm: BatchNormPolicy = "recompute",
    ) -> Slice:
        """Loss on the plane of the first two principal components, around the last of `checkpoints`.

        `checkpoints` are step -> named tensors, or a list in the order of training. `range` is in distances along the
        axes; None for the extent of the path times 1.2.

        Raises:
            SlicerError: the checkpoints span no plane, or an argument does not fit the model or its data.
        """
        given = dict(checkpoints) if isinstance(checkpoints, Mapping) else dict(enumerate(checkpoints))
        path = [_path_point(self, step, given[step]) for step in sorted(given)]
        options = SliceOptions.given(
            2,
            grid_size,
            range,
            params=params,
            batchnorm=batchnorm,
        )
        last: Mapping[str, Tensor] | None = given[max(given)] if given else None
        return self.take("pca2d", PCA2D(), last, options, path=path)


def _path_point(slicer: Slicer, step: int, point: Point) -> PathPoint:
    return PathPoint(step=step, open=lambda: full_state(slicer.wrapper, point, f"checkpoint {step}"))


def _check_finite(gram: np.ndarray, path: Sequence[PathPoint]) -> None:
    bad = [point.step for point, square in zip(path, gram.diagonal(), strict=True) if not np.isfinite(square)]
    if len(bad) == len(path):
        raise UsageError("the checkpoint at the center has weights that are not finite, so there is no plane around it")
    if bad:
        raise UsageError(
            f"the checkpoints of {', '.join(map(str, bad[:5]))} have weights that are not finite, so they have no "
            "principal components: leave them out of --checkpoints"
        )
