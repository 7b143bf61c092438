"""What measures that evaluate the model again are given, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slicer_core.choices import BatchNormPolicy
from slicer_core.errors import UsageError
from slicer_core.evaluate import EvaluationSettings
from slicer_core.extra import check_extra
from slicer_core.measures.of_slice import by_split
from slicer_core.measures.table import MeasureRow, find_measures
from slicer_core.parameters import LazyTensors, NamedTensors
from slicer_core.plan import SlicePlan
from slicer_core.slices import Measure, Slice, SliceArray
from slicer_core.subject import ModelWrapper, SplitData


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The center of a slice with its model, its data on one split, and the plan of the slice's points.

    `state` has every parameter and buffer at the center, whose buffers the model keeps (BatchNorm in eval mode);
    `batchnorm` says what the slice's other points have; `seed` is that of what is random. Where `settings` has a weight
    decay, it is a part of the loss. `advance` is called with the number of points that are done of a map, and with 0
    now and then.
    """

    wrapper: ModelWrapper
    state: NamedTensors
    plan: SlicePlan
    split: str
    settings: EvaluationSettings
    seed: int = 0
    batchnorm: BatchNormPolicy = "frozen"
    advance: Callable[[float], Any] = field(default=lambda _: None, repr=False)

    @property
    def data(self) -> SplitData:
        """The samples that the slice is of."""
        return self.wrapper.split(self.split, self.settings.batch_size, self.settings.samples)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Measures by name, one of which has the row's, and further arrays of the slice's shape."""

    measures: Mapping[str, Measure]
    arrays: Sequence[SliceArray] = field(default_factory=tuple)


def missing_measures(data: Slice, rows: Sequence[MeasureRow]) -> tuple[MeasureRow, ...]:
    """The rows that evaluate the model, apply to the slice, and are not in it."""
    return tuple(
        row
        for row in rows
        if row.kind != "points" and data.geometry in row.geometries and row.name not in data.measures
    )


def with_model_measures(
    data: Slice,
    rows: Sequence[MeasureRow],
    *,
    wrapper: ModelWrapper,
    state: NamedTensors,
    plan: SlicePlan,
    settings: EvaluationSettings,
    seed: int,
    batchnorm: BatchNormPolicy = "frozen",
    begin: Callable[[str, int], Any] = lambda name, num_points: None,
    advance: Callable[[float], Any] = lambda num_points: None,
) -> Slice:
    """The slice with the measures of `rows` that it does not have yet, on each of its splits.

    `begin` is called before each measure on a split, with its name and how much `advance` will tell: the points of a
    map, else 1.

    Raises:
        SlicerError: a measure can't be taken of the model.
    """
    for row in missing_measures(data, rows):
        check_measurable(row, streaming=settings.strategy == "streaming" or isinstance(state, LazyTensors))
        for split in data.splits:
            begin(row.name, plan.num_points if row.kind == "map" else 1)
            around = Surroundings(
                wrapper=wrapper,
                state=state,
                plan=plan,
                split=split,
                settings=settings,
                seed=seed,
                batchnorm=batchnorm,
                advance=advance,
            )
            measured = row.function()(around)
            if row.kind == "model":
                advance(1.0)
            data = replace(
                data,
                measures={**data.measures, **by_split(measured.measures, split, data.splits[0])},
                arrays=(*data.arrays, *measured.arrays),
            )
    return data


def check_measurable(row: MeasureRow, *, streaming: bool, chosen: bool = False) -> None:
    """Raises UsageError where the row needs gradients of a model whose parameters are streamed, or an extra.

    `chosen`: streaming was asked for, and is not there for want of memory.
    """
    if row.needs_extra:
        check_extra(f"{row.flag} needs")
    if row.kind != "points" and streaming:
        needs = f"{row.flag} needs gradients of all parameters at once, and "
        if chosen:
            raise UsageError(
                f"{needs}--strategy streaming never holds them: leave the measure out, or take another --strategy"
            )
        raise UsageError(
            f"{needs}they do not fit the memory beside the model (strategy: streaming): leave the measure out, or give "
            "more with --memory-budget"
        )


def named_rows(names: Sequence[str]) -> tuple[MeasureRow, ...]:
    """`find_measures` of a sequence of names.

    Raises:
        UsageError: a name is unknown.
    """
    return find_measures(",".join(names))
