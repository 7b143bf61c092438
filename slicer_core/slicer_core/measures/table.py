"""The table of measures. It imports none of them, so that the command can list and check names without torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from slicer_core.errors import UsageError, suggestion

if TYPE_CHECKING:
    from slicer_core.slices.types import Geometry

Kind = Literal["points", "model", "map"]
CURVATURE_MAP_POINTS = 13
ALL: tuple[Geometry, ...] = ("curve", "curves", "grid")


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """One measure. `home` is `module:function`; `kind` says what the function is given.

    `points`: a `LossField`, the slice's own points on one split, from which it is computed wherever it applies.
    `model`: a `Surroundings`, of which it evaluates the model again, so only on request; it gives a measure of the
    row's own name. `map`: the same with a value at each point, which costs as much as the slice or more, so that `all`
    does not mean it. `passes` are backward passes over the split, those of a map for each point, with those of a
    Hessian-vector product counted as two. A map has `arrays` with a value at each point; `axis_points`: it is computed
    at so many points of an axis at most, and interpolated between. `needs_extra`: curvlinops, of the extra `curvature`.
    """

    name: str
    home: str
    kind: Kind
    summary: str
    geometries: tuple[Geometry, ...] = ALL
    passes: int = 0
    arrays: int = 1
    axis_points: int | None = None
    needs_extra: bool = False

    @property
    def flag(self) -> str:
        """How it is asked for."""
        return f"--measures {self.name}"

    def function(self) -> Callable[[Any], Any]:
        """What computes it, imported now."""
        module, _, name = self.home.partition(":")
        return getattr(importlib.import_module(module), name)


def _row(
    name: str, home: str, kind: Kind, summary: str, geometries: tuple[Geometry, ...] = ALL, passes: int = 0, **more: Any
) -> MeasureRow:
    return MeasureRow(
        name=name,
        home=f"slicer_core.measures.{home}",
        kind=kind,
        summary=summary,
        geometries=geometries,
        passes=passes,
        **more,
    )


MEASURES: dict[str, MeasureRow] = {
    row.name: row
    for row in (
        _row(
            "barrier",
            "barrier:barrier",
            "points",
            "the highest rise above the straight line between two ends",
            ("curve",),
        ),
        _row("width", "width:width", "points", "the interval around the center in which the loss stays low"),
        _row("curvature", "curvature:curvature", "points", "the second difference at the center along each axis"),
        _row("roughness", "roughness:roughness", "points", "the RMS second difference over the range of the losses"),
        _row("largest_increase", "increase:largest_increase", "points", "the largest rise above the center"),
        _row(
            "non_finite_share", "finiteness:non_finite_share", "points", "the part of the points without a finite loss"
        ),
        _row(
            "non_convex_share",
            "nonconvexity:non_convex_share",
            "points",
            "the part of a plane that curves downward",
            ("grid",),
        ),
        _row(
            "persistence",
            "persistence:persistence",
            "points",
            "the depth of the valleys besides the deepest",
            ("curve", "grid"),
        ),
        _row("sam_sharpness", "sam:sam_sharpness", "model", "the rise of the loss one step up its gradient", passes=1),
        _row(
            "sharpness", "sharpness:sharpness", "model", "the highest rise within a ball around the center", passes=42
        ),
        _row(
            "adaptive_sharpness",
            "sharpness:adaptive_sharpness",
            "model",
            "the highest rise within a ball that scales with the weights",
            passes=42,
        ),
        _row("gradient_norm", "gradient_norm:gradient_norm", "map", "the norm of the gradient at each point", passes=1),
        _row(
            "eigenvalues",
            "eigenvalues:eigenvalues",
            "model",
            "the largest and smallest eigenvalues of the Hessian",
            passes=200,
            needs_extra=True,
        ),
        _row(
            "trace",
            "trace:trace",
            "model",
            "the trace of the Hessian, whole and of each layer's block",
            passes=128,
            needs_extra=True,
        ),
        _row(
            "curvature_map",
            "curvature_map:curvature_map",
            "map",
            "the extreme eigenvalues of the Hessian over the grid",
            ("grid",),
            passes=80,
            arrays=4,
            axis_points=CURVATURE_MAP_POINTS,
            needs_extra=True,
        ),
    )
}


def find_measures(text: str | None) -> tuple[MeasureRow, ...]:
    """The rows that `a,b`, `all` (but maps) or None (none besides those that are always computed) name, in order.

    Raises:
        UsageError: a name is not one of the table's.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    for name in names:
        if name != "all" and name not in MEASURES:
            raise UsageError(
                f"--measures names {name!r}{suggestion(name, MEASURES)}; there are {', '.join(MEASURES)}, and all"
            )
    return tuple(row for row in MEASURES.values() if row.name in names or ("all" in names and row.kind != "map"))
