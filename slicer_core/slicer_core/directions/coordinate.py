"""Directions along single scalar parameters, and the little language that selects them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from slicer_core.errors import UsageError, suggestion
from slicer_core.parameters import LazyTensors, NamedTensors, shapes_of
from slicer_core.philox import standard_normal

_ENTRY = re.compile(r"^(?P<name>[^\[\]]+)\[(?P<index>\s*(?:[0-9]+\s*(?:,\s*[0-9]+\s*)*)?)\]$")
_RANGE = re.compile(r"^(?P<start>\d*):(?P<stop>\d*)(?::(?P<step>\d+))?$")
ACCEPTED = "0:10, 0:100:5, 3,17,29, layer.weight[3,17], largest:20 or random:20"


@dataclass(frozen=True, kw_only=True)
class Coordinate:
    """One scalar: entry `index` of the tensor `name`; `flat` counts all scalars in the model's order."""

    name: str
    index: tuple[int, ...]
    flat: int


def coordinates_at(parameters: NamedTensors, flat_indices: Sequence[int]) -> list[Coordinate]:
    """The scalars with these numbers, counted through all tensors in their order.

    Raises:
        UsageError: an index is outside, or there is none.
    """
    parameters = shapes_of(parameters)
    names = list(parameters)
    ends = np.cumsum([parameters[name].numel() for name in names])
    total = int(ends[-1]) if names else 0
    if len(flat_indices) == 0:
        raise UsageError(f"no parameter is selected; give some of the {total}, as in {ACCEPTED}")
    chosen = []
    for flat in flat_indices:
        if isinstance(flat, bool) or not isinstance(flat, (int, np.integer)):
            raise UsageError(f"parameter index {flat!r} is not an integer")
        if not 0 <= flat < total:
            raise UsageError(f"parameter index {flat} is out of range: the model has {total} scalars that can vary")
        owner = int(np.searchsorted(ends, flat, side="right"))
        tensor = parameters[names[owner]]
        within = int(flat) - int(ends[owner] - tensor.numel())
        index = tuple(int(entry) for entry in np.unravel_index(within, tuple(tensor.shape) or (1,)))
        chosen.append(Coordinate(name=names[owner], index=index if tensor.ndim else (), flat=int(flat)))
    return chosen


def parse_selection(selection: str, parameters: NamedTensors, *, seed: int = 0) -> list[Coordinate]:
    """The scalars that `selection` names, for example `0:10`, `layer.weight[3,17]`, `largest:20` or `random:20`.

    `largest` takes the entries of greatest magnitude at the center; `random` is a pure function of `seed`.

    Raises:
        UsageError: the text is not of these forms, or points outside the model.
    """
    text = selection.strip()
    shapes = shapes_of(parameters)
    total = sum(tensor.numel() for tensor in shapes.values())
    if text.startswith(("largest:", "random:")):
        kind, _, number = text.partition(":")
        if not number.isdecimal() or not 1 <= int(number) <= total:
            raise UsageError(f"--params-to-slice {selection!r} needs a number from 1 to {total} after {kind}:")
        return coordinates_at(parameters, _ranked(kind, int(number), parameters, seed))
    entry = _ENTRY.match(text)
    if entry is not None:
        return [_named_entry(entry["name"].strip(), entry["index"], shapes)]
    span = _RANGE.match(text)
    if span is not None:
        start, stop = int(span["start"] or 0), int(span["stop"] or total)
        if not start < stop <= total or int(span["step"] or 1) < 1:
            raise UsageError(f"--params-to-slice {selection!r} is empty or ends after the last of {total} scalars")
        return coordinates_at(parameters, range(start, stop, int(span["step"] or 1)))
    if re.fullmatch(r"\d+(\s*,\s*\d+)*", text):
        return coordinates_at(parameters, [int(number) for number in text.split(",")])
    raise UsageError(f"--params-to-slice {selection!r} is not of a known form; give {ACCEPTED}")


def coordinate_direction(parameters: NamedTensors, coordinate: Coordinate) -> NamedTensors:
    """One at the coordinate, zero elsewhere; only the tensor that holds it is there, lazy where the parameters are."""
    name = coordinate.name
    if not isinstance(parameters, LazyTensors):
        direction = torch.zeros_like(parameters[name])
        direction[coordinate.index] = 1.0
        return {name: direction}
    like = parameters.like[name]

    def rows(_: str, start: int, stop: int) -> Tensor:
        part = torch.zeros((stop - start, *like.shape[1:]) if like.ndim else (), dtype=like.dtype)
        row, *within = coordinate.index or (0,)
        if start <= row < stop:
            part[(row - start, *within) if like.ndim else ()] = 1.0
        return part

    return LazyTensors({name: like}, rows)


def _ranked(kind: str, number: int, parameters: NamedTensors, seed: int) -> list[int]:
    if kind == "largest":
        scores = np.concatenate(
            [tensor.detach().abs().float().cpu().numpy().reshape(-1) for tensor in parameters.values()]
        )
        return [int(flat) for flat in np.argsort(-scores, kind="stable")[:number]]
    scores = standard_normal(f"{seed}/coordinates", 0, sum(tensor.numel() for tensor in shapes_of(parameters).values()))
    return sorted(int(flat) for flat in np.argsort(scores, kind="stable")[:number])


def _named_entry(name: str, index_text: str, parameters: NamedTensors) -> Coordinate:
    tensor = parameters.get(name)
    if tensor is None:
        raise UsageError(f"--params-to-slice names no parameter of the model: {name!r}{suggestion(name, parameters)}")
    index = tuple(int(number) for number in index_text.split(",") if number.strip())
    if len(index) != tensor.ndim or any(at >= size for at, size in zip(index, tensor.shape, strict=True)):
        raise UsageError(f"--params-to-slice {name}{list(index)} is outside its shape {list(tensor.shape)}")
    before = 0
    for other, values in parameters.items():
        if other == name:
            break
        before += values.numel()
    flat = before + int(np.ravel_multi_index(index, tuple(tensor.shape)))
    return Coordinate(name=name, index=index, flat=flat)
