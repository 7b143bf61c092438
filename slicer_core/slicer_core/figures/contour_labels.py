"""The values of contour lines, along the lines and clear of whatever else is in the plane."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from slicer_core.figures.style import FigureStyle, missing_glyphs_allowed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet
    from matplotlib.figure import Figure
    from matplotlib.path import Path
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

# Points around a label that stay empty, and around a marker.
_ROOM = 1.0
_MARKER = 4.0


def level_texts(style: FigureStyle, levels: np.ndarray) -> list[str]:
    """Levels that were asked for as they are, others with three digits or as many as tell them apart."""
    texts = [f"{level:.7g}" for level in levels]
    if isinstance(style.levels, int):
        for digits in range(3, 18):
            shorter = [f"{level:.{digits}g}" for level in levels]
            if len(set(shorter)) == len(shorter):
                texts = shorter
                break
    return [text.replace("-", "\N{MINUS SIGN}") for text in texts]


def label_contours(figure: Figure, axes: Axes, contours: QuadContourSet, style: FigureStyle) -> None:
    """`clabel`, without the labels that would lie across the frame, another line, a marker, the path or its texts.

    It comes after all else in the figure: only then is it known where the axes lie.
    """
    levels = np.asarray(contours.levels, dtype=np.float64)
    if not levels.size:
        return
    with missing_glyphs_allowed():
        figure.draw_without_rendering()
        others = list(_boxes_of_others(figure, axes))
    lines = [line.get_path().transformed(axes.transData) for line in axes.lines if np.size(line.get_xdata()) > 1]
    fmt = dict(zip(levels.tolist(), level_texts(style, levels), strict=True))
    # A line of no length, at a level that just one point reaches, has no direction for matplotlib.
    with np.errstate(invalid="ignore", divide="ignore"):
        labels = axes.clabel(contours, fmt=fmt, fontsize=style.font_size * 0.7, inline=False)
    drawn = [path.transformed(axes.transData) for path in contours.get_paths()]
    levels_by_text = {text: level for level, text in fmt.items()}
    kept: list[Path] = []
    for label in labels:
        level = levels_by_text[label.get_text()]
        rivals = [path for path, other in zip(drawn, levels, strict=True) if other != level and np.size(path.vertices)]
        room = _room_of(label, figure)
        inside = axes.bbox.contains
        free = (
            all(inside(x, y) for x, y in np.asarray(room.vertices))
            and not any(room.intersects_bbox(box, filled=True) for box in others)
            and not any(room.intersects_path(path, filled=False) for path in (*rivals, *lines))
            and not any(room.intersects_path(path, filled=True) for path in kept)
        )
        if not free:
            label.remove()
            continue
        kept.append(room)
        _colored(label, contours, axes, level)


def _room_of(label: Text, figure: Figure) -> Path:
    """The label's box, turned as it is, with some room, in pixels."""
    from matplotlib.path import Path
    from matplotlib.transforms import Affine2D

    turn = label.get_rotation()
    label.set_rotation(0)
    box = label.get_window_extent().padded(_ROOM * figure.dpi / 72)
    label.set_rotation(turn)
    middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    corners = Path([(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1), (box.x0, box.y0)])
    return corners.transformed(Affine2D().rotate_deg_around(*middle, turn))


def _boxes_of_others(figure: Figure, axes: Axes) -> Iterator[Bbox]:
    """Where markers and texts of the plane stand, in pixels."""
    from matplotlib.transforms import Bbox

    for text in axes.texts:
        yield text.get_window_extent()
    size = _MARKER * figure.dpi / 72
    for line in axes.lines:
        for x, y in axes.transData.transform(np.asarray(line.get_xydata(), dtype=np.float64)):
            if np.isfinite((x, y)).all():
                yield Bbox([[x - size, y - size], [x + size, y + size]])


def _colored(label: Text, contours: QuadContourSet, axes: Axes, level: float) -> None:
    """Black or white on the color that the level has, which reads on every color map and hides the line below."""

    image = axes.collections[0]
    red, green, blue = np.ravel(image.cmap(image.norm(np.array([level]))))[:3].tolist()
    light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.3
    label.set(color="#000000" if light else "#ffffff", zorder=contours.get_zorder() + 0.1)
    label.set_bbox({"facecolor": (red, green, blue), "edgecolor": "none", "pad": _ROOM})
