"""What measures that evaluate the model again are given, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from slicer_core.errors import UsageError
from slicer_core.evaluate import EvaluationSettings
from slicer_core.measures.measure import by_split
from slicer_core.measures.table import MeasureRow, find_measures
from slicer_core.parameters import LazyTensors, NamedTensors
from slicer_core.plan import SlicePlan
from slicer_core.slices import Measure, Slice, SliceArray
from slicer_core.subject import ModelWrapper, SplitData


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The center of a slice with its model, its data on one split, and the plan of the slice's points.

    `state` has every parameter and buffer at the center, whose buffers the model keeps (BatchNorm in eval mode);
    `seed` is that of what is random. Where `settings` has a weight decay, it is a part of the loss.
    """

    wrapper: ModelWrapper
    state: NamedTensors
    plan: SlicePlan
    split: str
    settings: EvaluationSettings
    seed: int = 0

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
        row for row in rows if row.kind == "model" and data.geometry in row.geometries and row.name not in data.measures
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
) -> Slice:
    """The slice with the measures of `rows` that it does not have yet, on each of its splits.

    Raises:
        SlicerError: a measure can't be taken of the model.
    """
    for row in missing_measures(data, rows):
        check_measurable(row, streaming=settings.strategy == "streaming" or isinstance(state, LazyTensors))
        for split in data.splits:
            measured = row.function()(
                Surroundings(wrapper=wrapper, state=state, plan=plan, split=split, settings=settings, seed=seed)
            )
            data = replace(
                data,
                measures={**data.measures, **by_split(measured.measures, split, data.splits[0])},
                arrays=(*data.arrays, *measured.arrays),
            )
    return data


def check_measurable(row: MeasureRow, *, streaming: bool) -> None:
    """Raises UsageError where the row needs gradients of a model whose parameters are streamed."""
    if row.kind == "model" and streaming:
        raise UsageError(
            f"--measures {row.name} needs gradients of all parameters at once, and they do not fit the memory beside "
            "the model (strategy: streaming): leave the measure out, or give more with --memory-budget"
        )


def named_rows(names: Sequence[str]) -> tuple[MeasureRow, ...]:
    """`find_measures` of a sequence of names.

    Raises:
        UsageError: a name is unknown.
    """
    return find_measures(",".join(names))
