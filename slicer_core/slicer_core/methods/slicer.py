"""What the slicers share: from a wrapped model and a plan to a `Slice`, in this process and at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from slicer_core.directions import PathPoint
from slicer_core.errors import CheckpointError, UsageError, suggestion
from slicer_core.evaluate import EvaluationSettings, kept_elsewhere, streams
from slicer_core.measures.surroundings import check_measurable, named_rows, with_model_measures
from slicer_core.methods.assemble import assemble
from slicer_core.methods.evaluation import evaluate_plan
from slicer_core.methods.method import CenterPoint, Method, SliceOptions
from slicer_core.methods.preparation import Preparation
from slicer_core.parameters import NamedTensors, merged
from slicer_core.plan import SlicePlan
from slicer_core.slices import Slice
from slicer_core.subject import ModelWrapper
from slicer_core.subject.sharding import is_sharded
from slicer_core.subject.undisturbed import ordinary, undisturbed

Point = Mapping[str, Tensor]
"""Named tensors, as `ModelWrapper.get_parameters` gives them; buffers may be among them."""

GridSize = int | tuple[int, int]
"""Points along both axes of a plane, or along each."""

GridRange = tuple[float, float] | tuple[tuple[float, float], tuple[float, float]]
"""Limits of both axes of a plane, or of each."""


class Slicer:
    """Takes slices of a wrapped model, which is afterwards exactly as before.

    Args:
        wrapper: model, loss and data.
        split: `train`, `test` or `both`; None for train, or the only one there is.
        settings: batch size, number of samples, dtype, strategy and weight decay.
        measures: names of measures that evaluate the model again, besides those that the points of a slice give.
        progress: shows a progress bar where there is a terminal or a notebook.
        watch: called with the share of the points that are evaluated; a `SlicerError` that it raises ends the slice.
    """

    def __init__(
        self,
        wrapper: ModelWrapper,
        *,
        split: str | None = None,
        settings: EvaluationSettings | None = None,
        measures: Sequence[str] = (),
        progress: bool = True,
        watch: Callable[[float], None] | None = None,
    ) -> None:
        self.wrapper = wrapper
        self.split = split
        self.settings = settings or EvaluationSettings()
        self.measures = named_rows(measures)
        self.progress = progress
        self.watch = watch

    def take(
        self,
        name: str,
        method: Method,
        center_point: Point | None,
        options: SliceOptions,
        *,
        path: Sequence[PathPoint] = (),
    ) -> Slice:
        """The slice of a method around a point, None for the model's current parameters; `path` is a training's.

        Raises:
            SlicerError: an argument does not fit the model or its data.
        """
        with undisturbed(self.wrapper.model), self._own_state() as (settings, state):
            if center_point is not None:
                state = full_state(self.wrapper, center_point, "center_point", rest=state)
            splits = chosen_splits(self.wrapper, self.split)
            center = CenterPoint(
                wrapper=self.wrapper,
                state=state,
                scale_state=state,
                other=_no_other,
                preparation=Preparation(settings=settings, split=splits[0]),
                path=path,
            )
            plan = method.plan(center, options)
            self._check_measures(plan, settings)
            with _progress_bar(name, plan.num_evaluated * len(splits), shown=self.progress) as bar:
                evaluated = evaluate_plan(
                    plan,
                    center,
                    splits=splits,
                    settings=settings,
                    batchnorm=options.batchnorm or "frozen",
                    advance=self._advancing(bar, plan.num_evaluated * len(splits)),
                )
            config = {"method": name, "seed": options.seed, "weight_decay": self.settings.weight_decay}
            found = assemble(plan, evaluated, center, config=config, weight_decay=self.settings.weight_decay)
            return with_model_measures(
                found,
                self.measures,
                wrapper=self.wrapper,
                state=state,
                plan=plan,
                settings=settings,
                seed=options.seed,
                batchnorm=options.batchnorm or "frozen",
            )

    def _advancing(self, bar: Any, num_points: int) -> Callable[[float], object]:
        watch, done = self.watch, 0.0
        if watch is None:
            return bar.update

        def advance(points: float) -> None:
            nonlocal done
            bar.update(points)
            done += points
            watch(min(1.0, done / num_points))

        return advance

    def _check_measures(self, plan: SlicePlan, settings: EvaluationSettings) -> None:
        """Before the points are evaluated, which may take long."""
        streaming, chosen = (each.strategy == "streaming" for each in (settings, self.settings))
        for row in self.measures:
            if plan.geometry in row.geometries:
                check_measurable(row, streaming=streaming, chosen=chosen)

    @contextlib.contextmanager
    def _own_state(self) -> Iterator[tuple[EvaluationSettings, NamedTensors]]:
        """The settings with streaming decided, and the model's tensors, in a second place where it writes to them."""
        if streams(self.wrapper, self.settings.strategy, self.settings.memory_budget):
            with kept_elsewhere(self.wrapper) as kept:
                yield replace(self.settings, strategy="streaming"), kept
        else:
            yield self.settings, self.wrapper.state()


def chosen_splits(wrapper: ModelWrapper, split: str | None) -> tuple[str, ...]:
    """The splits that `train`, `test`, `both` or None (train, or the only one) mean.

    Raises:
        UsageError: the wrapper has no such data.
    """
    if split is None:
        return wrapper.splits[:1]
    wanted = ("train", "test") if split == "both" else (split,)
    for name in wanted:
        if name not in wrapper.splits:
            raise UsageError(
                f"--split {split}: there is no {name} data; the module gives {' and '.join(wrapper.splits)}"
            )
    return wanted


def full_state(wrapper: ModelWrapper, point: Point, name: str, *, rest: NamedTensors | None = None) -> NamedTensors:
    """The model's state with the tensors of `point` in place of its own; any name of a tied tensor will do.

    `rest` has what is not in the point; without it that is copied from the model.

    Raises:
        CheckpointError: a name or a shape is not the model's, or there is no tensor with its values.
    """
    if not isinstance(point, Mapping):
        raise CheckpointError(
            f"{name} is a {type(point).__name__}, expected named tensors, as `ModelWrapper.get_parameters` or a state "
            "dict has them"
        )
    state = wrapper.state()
    first_names = _first_names(wrapper.model)
    for key, tensor in point.items():
        if key not in first_names:
            raise CheckpointError(f"{name} has {key!r}, which the model does not{suggestion(key, first_names)}")
        if (found := _other_than_values(tensor)) is not None:
            raise CheckpointError(f"{name} has {found} under {key!r}, expected a tensor with all of its values")
        own = state[first_names[key]]
        if tensor.shape != own.shape:
            raise CheckpointError(f"{name} has {key!r} of shape {list(tensor.shape)}, the model's is {list(own.shape)}")
        if tensor.is_complex() and not own.is_complex():
            raise CheckpointError(f"{name} has {key!r} in complex numbers, the model's is {own.dtype}: give real ones")
    # Reversed, so that of several names of a tied tensor the first one counts.
    given = {
        first_names[key]: ordinary(tensor.detach().to(state[first_names[key]]))
        for key, tensor in reversed(list(point.items()))
    }
    if rest is None:
        rest = {first: tensor if first in given else ordinary(tensor.clone()) for first, tensor in state.items()}
    return merged(rest, given)


def _other_than_values(entry: Any) -> str | None:
    """What an entry of a point is, in place of a dense tensor on a device; None for one."""
    if not isinstance(entry, Tensor):
        return f"a {type(entry).__name__}"
    if is_sharded(entry):
        return "a part of a tensor that is sharded over devices (`full_tensor()` gives all of it)"
    if entry.layout is not torch.strided or entry.is_meta or entry.is_quantized:
        kind = "quantized" if entry.is_quantized else "without data" if entry.is_meta else str(entry.layout)
        return f"a tensor that is {kind.removeprefix('torch.')}"
    return None


def _first_names(model: nn.Module) -> dict[str, str]:
    """Every name of each parameter and buffer -> the one that `ModelWrapper.state` has."""
    first = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
    everywhere = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    return {name: first[id(tensor)] for name, tensor in everywhere}


def _no_other(name: str) -> NamedTensors:
    raise UsageError(f"there are no checkpoints here, so {name!r} means nothing: give the point itself")


def _progress_bar(name: str, num_points: int, *, shown: bool):
    from tqdm.auto import tqdm
    from tqdm.std import tqdm as terminal_tqdm

    # None means: only on a terminal. A notebook's stream is none, but its widget is wanted.
    in_notebook = tqdm.__mro__[0] is not terminal_tqdm and "notebook" in tqdm.__mro__[1].__module__
    return tqdm(
        total=num_points,
        desc=name,
        unit="point",
        leave=False,
        disable=(False if in_notebook else None) if shown else True,
    )
