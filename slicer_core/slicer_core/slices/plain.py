"""Plain dictionaries, as scripts make them by hand, to a `Slice`; the type is detected from the keys."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from slicer_core.errors import FormatError
from slicer_core.slices.header import slice_from_dict
from slicer_core.slices.slice import Axis, Center, Curve, Marker, Slice, SliceArray

ACCEPTED = """\
a Slice, or a dictionary of one of these forms:
  the dictionary that Slice.to_dict() gives
  {'samples': [(alpha, loss), ...], 'start_loss': number, 'end_loss': number}
  {'slices': [{'parameter_index': index, 'parameter_name': text, 'layer_name': text,
               'samples': [(alpha, loss), ...]}, ...]}"""
"""What `slice_from_plain` takes, as its errors show it."""

_SPLIT = "train"
_STORED_KEYS = {"slice_type", "geometry", "axes", "arrays"}
_LINE_KEYS = {"samples", "start_loss", "end_loss"}
_FAMILY_KEYS = {"slices"}
_CURVE_KEYS = {"parameter_index", "parameter_name", "layer_name", "samples"}


def slice_from_plain(data: Slice | Mapping[str, Any], slice_type: str | None = None) -> Slice:
    """The slice that `data` describes, of type `slice_type` where that is given.

    `samples` make a `linear_interpolation` curve (alpha 0 is the start, 1 the end; `start_loss` and `end_loss` may
    be left out), `slices` an `axis_parallel` family. Points are ordered by alpha; losses are the training split's.
    `parameter_index` is a number, or the entry's index in its tensor as a list.

    Raises:
        FormatError: the dictionary has none of the accepted forms, or the type does not go with the geometry.
    """
    plain = _detect(data)
    return plain if slice_type is None else dataclasses.replace(plain, slice_type=slice_type)


def _detect(data: Slice | Mapping[str, Any]) -> Slice:
    if isinstance(data, Slice):
        return data
    if not isinstance(data, Mapping):
        raise FormatError(f"slice data is {ACCEPTED}\nfound {type(data).__name__}")
    keys = set(data)
    if keys >= _STORED_KEYS:
        return slice_from_dict(data)
    if "samples" in keys and keys <= _LINE_KEYS:
        return _line(data)
    if keys == _FAMILY_KEYS:
        return _family(data["slices"])
    found = ", ".join(sorted(map(repr, keys))) or "no keys"
    raise FormatError(f"slice data is {ACCEPTED}\nfound a dictionary with {found}")


def _line(data: Mapping[str, Any]) -> Slice:
    alphas, losses = _samples(data["samples"], "samples")
    ends = {"start": data.get("start_loss"), "end": data.get("end_loss")}
    end_losses = {name: _number(loss, f"{name}_loss") for name, loss in ends.items() if loss is not None}
    return Slice(
        slice_type="linear_interpolation",
        geometry="curve",
        axes=(Axis(name="alpha", label="alpha", values=alphas),),
        arrays=(SliceArray(name="loss", split=_SPLIT, role="value", values=losses),),
        center=Center(loss={_SPLIT: end_losses["start"]}) if "start" in end_losses else None,
        markers=tuple(
            Marker(name=name, coordinates=(place,), loss={_SPLIT: end_losses[name]})
            for name, place in (("start", 0.0), ("end", 1.0))
            if name in end_losses
        ),
    )


def _family(members: Any) -> Slice:
    if not isinstance(members, (list, tuple)) or not members:
        raise FormatError(f"slices is a list of at least one dictionary, found {members!r:.100}: use {ACCEPTED}")
    curves: list[Curve] = []
    rows: list[np.ndarray] = []
    shared: np.ndarray | None = None
    for number, member in enumerate(members):
        where = f"slices[{number}]"
        if not isinstance(member, Mapping) or "samples" not in member or not set(member) <= _CURVE_KEYS:
            raise FormatError(f"{where} is not a dictionary with the keys of a curve: use {ACCEPTED}")
        alphas, losses = _samples(member["samples"], f"{where}['samples']")
        shared = alphas if shared is None else shared
        if not np.array_equal(alphas, shared):
            raise FormatError(
                f"{where} is sampled at other points than slices[0]: give all the same alpha (the offset from the "
                f"parameter's value), or log them as slices of their own"
            )
        curves.append(_curve(member, where))
        rows.append(losses)
    assert shared is not None
    return Slice(
        slice_type="axis_parallel",
        geometry="curves",
        axes=(Axis(name="alpha", label="alpha", values=shared),),
        arrays=(SliceArray(name="loss", split=_SPLIT, role="value", values=np.stack(rows)),),
        curves=tuple(curves),
    )


def _curve(member: Mapping[str, Any], where: str) -> Curve:
    index = member.get("parameter_index")
    try:
        entries = () if index is None else tuple(map(operator.index, index if np.iterable(index) else (index,)))
    except TypeError as error:
        raise FormatError(f"{where}['parameter_index'] is a whole number or a list of them, found {index!r}") from error
    names = {key: member.get(key, "") for key in ("parameter_name", "layer_name")}
    for key, name in names.items():
        if not isinstance(name, str):
            raise FormatError(f"{where}[{key!r}] is a text, found {type(name).__name__}")
    return Curve(
        name=names["parameter_name"] or f"parameter {'' if index is None else index}".strip(),
        layer=names["layer_name"],
        index=entries,
    )


def _samples(samples: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """alpha and loss as two float64 arrays, in the order of alpha; equal alpha keep their order."""
    if isinstance(samples, (str, bytes, Mapping)) or not np.iterable(samples):
        raise FormatError(f"{where} is a list of (alpha, loss) pairs, found {type(samples).__name__}")
    pairs: list[tuple[float, float]] = []
    for number, sample in enumerate(samples):
        place = f"{where}[{number}]"
        pair = tuple(sample) if np.iterable(sample) and not isinstance(sample, (str, bytes, Mapping)) else ()
        if len(pair) != 2:
            raise FormatError(f"{place} is a pair (alpha, loss), found {sample!r}")
        alpha, loss = pair
        pairs.append((_number(alpha, f"{place}'s alpha"), _number(loss, f"{place}'s loss")))
    if not pairs:
        raise FormatError(f"{where} is empty: a slice needs at least one (alpha, loss) pair")
    columns = np.array(pairs, dtype=np.float64)
    columns = columns[np.argsort(columns[:, 0], kind="stable")]
    return columns[:, 0].copy(), columns[:, 1].copy()


def _number(value: Any, where: str) -> float:
    """Numbers of any library: a tensor's or array scalar's `item()` is its number."""
    try:
        number = value.item() if hasattr(value, "item") else value
        if isinstance(number, (str, bytes)):
            raise TypeError("a text")
        return float(number)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise FormatError(f"{where} is a number, found {value!r}") from error
