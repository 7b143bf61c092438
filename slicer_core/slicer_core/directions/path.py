"""The path of a training through parameter space: its principal axes, and where its points lie in a plane.

Points are read from their files in blocks of columns, so that memory does not grow with their number times the model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slicer_core.checkpoints import open_safetensors, write_safetensors
from slicer_core.errors import UsageError
from slicer_core.parameters import LazyTensors, NamedTensors, in_double, real_entries, rows_of, shapes_of, wide_enough

# Of the matrix (points, columns) in float64 that is at hand.
_BLOCK_BYTES = 32 * 2**20
# Of points that come whole from their files; what is more goes into temporary ones.
_WHOLE_BYTES = 256 * 2**20
# A second axis shorter than this part of the first is what rounding left of a line.
_FLATTEST = 1e-6


@dataclass(frozen=True, kw_only=True)
class PathPoint:
    """A checkpoint of a training: its step, and its tensors under the model's names, lazy if its file allows that."""

    step: int
    open: Callable[[], NamedTensors]


@dataclass(frozen=True, kw_only=True)
class PrincipalAxes:
    """The directions along which points differ most.

    `weights` (axes, points): an axis is Σ weights·(θᵢ - origin), of norm one. `coordinates` (points, axes) are those of
    the points from the origin. `explained` are the parts of the variance around the points' mean.
    """

    weights: np.ndarray
    coordinates: np.ndarray
    explained: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Points in the plane of some axes by least squares.

    `coordinates` (points, axes); `residuals` (points,) are distances to the plane; `captured` is
    1 - Σr²/Σ‖θᵢ - origin‖², NaN where no point differs from the origin.
    """

    coordinates: np.ndarray
    residuals: np.ndarray
    captured: float


def open_points(path: Sequence[PathPoint]) -> list[NamedTensors]:
    """The tensors of all points; beyond a few hundred MiB, each is read from a file when it is asked for."""
    opened: list[NamedTensors] = []
    held = 0
    for point in path:
        tensors = point.open()
        if not isinstance(tensors, LazyTensors):
            held += sum(tensor.nbytes for tensor in tensors.values())
            tensors = _in_a_file(tensors) if held > _WHOLE_BYTES else tensors
        opened.append(tensors)
    return opened


def gram_matrix(points: Sequence[NamedTensors], origin: NamedTensors, names: Sequence[str]) -> np.ndarray:
    """⟨θᵢ - origin, θⱼ - origin⟩ over the parameters of these names, shape (points, points), summed in float64."""
    total = torch.zeros(len(points), len(points), dtype=torch.float64)
    for block in _blocks(shapes_of(origin), names, len(points)):
        away = _away(points, origin, block)
        total += away @ away.T
    return total.numpy()


def principal_axes(gram: np.ndarray, num_axes: int) -> PrincipalAxes:
    """From the Gram matrix of the points around an origin; the variance is around the points' mean.

    The first point that is not at zero along an axis has a positive coordinate there.

    Raises:
        UsageError: the points don't span so many axes.
    """
    count = len(gram)
    centering = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(centering @ gram @ centering)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    if count <= num_axes or not values[num_axes - 1] > _FLATTEST**2 * values[0]:
        spanned = int((values > _FLATTEST**2 * values[0]).sum())
        raise UsageError(
            f"the {count} checkpoints span {('no direction', 'one direction')[spanned] if spanned < 2 else spanned}: "
            f"{num_axes} principal components need {num_axes + 1} checkpoints or more that are not on one line"
        )
    weights = (centering @ vectors[:, :num_axes] / np.sqrt(values[:num_axes])).T
    coordinates = gram @ weights.T
    for axis in range(num_axes):
        along = coordinates[:, axis]
        first = along[np.abs(along) > _FLATTEST * np.abs(along).max()][0]
        if first < 0:
            weights[axis] *= -1
            coordinates[:, axis] *= -1
    explained = tuple(float(value / values.sum()) for value in values[:num_axes])
    return PrincipalAxes(weights=weights, coordinates=coordinates, explained=explained)


def combined(
    points: Sequence[NamedTensors], origin: NamedTensors, names: Sequence[str], weights: Sequence[float]
) -> NamedTensors:
    """Σ weights·(θᵢ - origin) over the parameters of these names; lazy where the origin is."""
    shapes = shapes_of(origin)
    kinds = {name: wide_enough(shapes[name].dtype) for name in names}
    like = {name: torch.empty(shapes[name].shape, dtype=kinds[name], device="meta") for name in names}

    def rows(name: str, start: int, stop: int) -> Tensor:
        base = rows_of(origin, name, start, stop)
        start_values = in_double(base.cpu())
        total = torch.zeros_like(start_values)
        for point, weight in zip(points, weights, strict=True):
            if weight:
                # Not in place: what is in float64 on the CPU already is the point itself.
                total.add_(in_double(rows_of(point, name, start, stop).cpu()) - start_values, alpha=float(weight))
        return total.to(base.device, kinds[name])

    lazy = LazyTensors(like, rows)
    return lazy if isinstance(origin, LazyTensors) else dict(lazy)


def project(
    points: Sequence[NamedTensors],
    origin: NamedTensors,
    axes: Sequence[NamedTensors],
    names: Sequence[str],
    *,
    guess: np.ndarray | None = None,
) -> Projection:
    """The nearest points of the plane origin + Σ αₖ·axesₖ, over the parameters of these names.

    The axes need neither be orthogonal nor of norm one. `guess` (points, axes) are coordinates that are nearly right;
    without them the points are read twice, since the distance of a point that lies in the plane would else be the
    difference of two large numbers.
    """
    nearly = np.zeros((len(points), len(axes))) if guess is None else guess
    found = _projected(points, origin, axes, names, nearly)
    if guess is None and np.isfinite(found.coordinates).any():
        found = _projected(points, origin, axes, names, np.nan_to_num(found.coordinates))
    return found


def _projected(
    points: Sequence[NamedTensors],
    origin: NamedTensors,
    axes: Sequence[NamedTensors],
    names: Sequence[str],
    guess: np.ndarray,
) -> Projection:
    start = torch.from_numpy(guess)
    beyond = torch.zeros(len(points), len(axes), dtype=torch.float64)
    metric = torch.zeros(len(axes), len(axes), dtype=torch.float64)
    left = torch.zeros(len(points), dtype=torch.float64)
    far = torch.zeros(len(points), dtype=torch.float64)
    for block in _blocks(shapes_of(origin), names, len(points) + len(axes)):
        away = _away(points, origin, block)
        along = torch.stack([_axis_columns(axis, block, away.shape[1]) for axis in axes])
        far += away.square().sum(dim=1)
        away -= start @ along
        left += away.square().sum(dim=1)
        beyond += away @ along.T
        metric += along @ along.T
    correction = beyond @ torch.linalg.pinv(metric, hermitian=True)
    squares = (left - (correction * beyond).sum(dim=1)).clamp(min=0.0)
    total = far.sum().item()
    return Projection(
        coordinates=(start + correction).numpy(),
        residuals=squares.sqrt().numpy(),
        captured=1 - squares.sum().item() / total if total else float("nan"),
    )


@dataclass(frozen=True)
class _Block:
    """Columns of the matrix of points: some rows of a tensor, or a part of one row."""

    name: str
    start: int
    stop: int
    columns: slice

    def of(self, vector: NamedTensors) -> Tensor:
        rows = rows_of(vector, self.name, self.start, self.stop)
        return real_entries(rows.reshape(-1)[self.columns].cpu())


def _blocks(shapes: Mapping[str, Tensor], names: Sequence[str], count: int) -> Iterator[_Block]:
    """All entries of these tensors, so many at a time that a matrix of `count` rows stays small."""
    entries = max(1, _BLOCK_BYTES // (8 * count))
    for name in names:
        tensor = shapes[name]
        if not tensor.numel():
            continue
        num_rows = tensor.shape[0] if tensor.ndim else 1
        row = tensor.numel() // num_rows
        if row <= entries:
            step = entries // row
            for start in range(0, num_rows, step):
                yield _Block(name, start, min(start + step, num_rows), slice(None))
        else:
            for start in range(num_rows):
                for low in range(0, row, entries):
                    yield _Block(name, start, start + 1, slice(low, low + entries))


def _away(points: Sequence[NamedTensors], origin: NamedTensors, block: _Block) -> Tensor:
    start = block.of(origin)
    away = torch.empty(len(points), start.numel(), dtype=torch.float64)
    for index, point in enumerate(points):
        torch.sub(block.of(point), start, out=away[index])
    return away


def _axis_columns(axis: NamedTensors, block: _Block, count: int) -> Tensor:
    return block.of(axis) if block.name in axis else torch.zeros(count, dtype=torch.float64)


def _in_a_file(tensors: NamedTensors) -> NamedTensors:
    with tempfile.TemporaryDirectory(prefix="loss-slicer-") as folder:
        path = Path(folder) / "point.safetensors"
        write_safetensors(path, tensors)
        # The file has no name any more and lasts while it is open.
        return open_safetensors(path)
