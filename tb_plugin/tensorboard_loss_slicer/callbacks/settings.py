"""What the callbacks share: which slices, how often, of how much data, in how much time, and where they go."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from slicer_core.choices import Ignore, Normalization
from slicer_core.errors import UsageError
from slicer_core.methods import find_method
from slicer_core.methods.method import AUTO, Method, SliceOptions


class Settings(TypedDict, total=False):
    """The keywords that every `LossLandscapeCallback` takes.

    method: a name of `loss-slicer methods`; `random2d` if none is given.
    options: the method's own options, as `{"repeats": 3}`.
    grid, range: as the command's `--grid` and `--range`; 25 points along an axis, and the method's own range.
    normalize, ignore, params, exclude, seed: as the command's.
    samples: how many samples of the split are evaluated, None for all; 1,000 if not given.
    split: `train`, `test` (the trainer's validation data) or `both`.
    tag: the tag in the log, the method's name if none is given.
    logdir: a directory for the event file, in place of the trainer's own log.
    max_overhead: the share of the training time that slices may take, None for no limit; 0.1 if not given.
    """

    method: str
    options: Mapping[str, Any]
    grid: str
    range: str | None
    normalize: Normalization
    ignore: Ignore
    params: Sequence[str]
    exclude: Sequence[str]
    seed: int
    samples: int | None
    split: str | None
    tag: str | None
    logdir: str | os.PathLike[str] | None
    max_overhead: float | None


@dataclass(frozen=True, kw_only=True)
class LandscapeSettings:
    """`Settings` with what is not given, checked.

    Raises:
        UsageError: a value can't be used, or the method needs more than the weights of one moment.
    """

    method: str = "random2d"
    options: Mapping[str, Any] = field(default_factory=dict)
    grid: str = "25"
    range: str | None = None
    normalize: Normalization = "filter"
    ignore: Ignore = "biasbn"
    params: Sequence[str] = ()
    exclude: Sequence[str] = ()
    seed: int = 0
    samples: int | None = 1000
    split: str | None = None
    tag: str | None = None
    logdir: str | os.PathLike[str] | None = None
    max_overhead: float | None = 0.1

    def __post_init__(self) -> None:
        if self.max_overhead is not None and not 0.0 < self.max_overhead < float("inf"):
            raise UsageError(f"max_overhead {self.max_overhead} is not a share of the training time above 0, or None")
        if self.samples is not None and self.samples < 1:
            raise UsageError(f"samples {self.samples} is not a number of samples: give 1 or more, or None for all")
        self.slice_options()
        method = self.make_method()
        if method.uses_path or method.references() or method.center is not None:
            needed = ", ".join(method.references()) or "the path of all checkpoints"
            raise UsageError(
                f"method {self.method!r} needs other checkpoints ({needed}), which a running training has not: choose "
                "another method or other options, or slice the saved checkpoints with `loss-slicer run`"
            )

    def make_method(self) -> Method:
        """The method with its own options."""
        return find_method(self.method).create(self.options)

    def slice_options(self) -> SliceOptions:
        """What the methods share, from the texts."""
        row = find_method(self.method)
        num_axes = self.make_method().num_axes or (2 if row.geometry == "grid" else 1)
        return SliceOptions.parse(
            grid=self.grid,
            range=row.range if self.range in (None, AUTO) else self.range,
            num_axes=num_axes,
            normalize=self.normalize,
            ignore=self.ignore,
            params=self.params,
            exclude=self.exclude,
            seed=self.seed,
        )
