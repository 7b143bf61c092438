"""Slices for Weights & Biases: what `wandb.log` takes, from the same data as `log_slice`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slicer_core.errors import UsageError
from slicer_core.figures import FigureStyle, Labeled, draw, save
from slicer_core.slices import Slice, slice_from_plain
from slicer_core.slices.export import point_columns

if TYPE_CHECKING:
    import wandb


def wandb_media(
    name: str,
    slice_data: Slice | Mapping[str, Any],
    *,
    view: str | None = None,
    style: FigureStyle | None = None,
) -> dict[str, wandb.Image | wandb.Table]:
    """`{name: figure, name + "/points": table}`, to be given to `wandb.log`, alone or among other values.

    The table has a row for each point: its coordinates, the losses and metrics with their errors and counts. Numbers
    that are not finite stay so.

    Args:
        name: under which W&B shows the figure.
        slice_data: as `log_slice` takes it.
        view, style: of the figure, see `slicer_core.figures.draw`.

    Raises:
        FormatError: the data is no slice.
        UsageError: wandb or matplotlib is not installed, or the view is of another geometry.
    """
    try:
        import wandb
        from PIL import Image
    except ModuleNotFoundError as error:
        raise UsageError(
            f"wandb_media needs {error.name}, which is not installed: pip install 'tensorboard-loss-slicer[wandb,plot]'"
        ) from error
    data = slice_from_plain(slice_data)
    picture = save(draw([Labeled(label=name, data=data)], view=view, style=style), "png", style)
    columns = point_columns(data)
    rows = zip(*(values.tolist() for _, values in columns), strict=True)
    return {
        name: wandb.Image(Image.open(io.BytesIO(picture))),
        f"{name}/points": wandb.Table(columns=[label for label, _ in columns], data=[list(row) for row in rows]),
    }
