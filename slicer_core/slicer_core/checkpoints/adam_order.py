"""Which of an optimizer's parameters is which of the model's. Where that is not certain, it is an error."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from slicer_core.checkpoints.layouts import TRAINER_STATE
from slicer_core.errors import CheckpointError

Shape = tuple[int, ...]
MatchedBy = Literal["name", "order"]

# What wrappers of torch put into names. The optimizer may have been given those of the wrapped model.
_INSERTED = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# `transformers.Trainer.get_decay_parameter_names`, version 5.
_NOT_DECAYED = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
# So many parts of ways at once mean that nothing tells the groups apart.
_MAX_STATES = 20_000
_ADVICE = "give the optimizer `model.named_parameters()`, whose names it saves"


def match_parameters(
    entries: Mapping[Any, Any],
    groups: Sequence[Any],
    shapes: Mapping[str, Shape],
    layer_norms: Collection[str],
    place: Path,
) -> tuple[dict[str, Any], MatchedBy]:
    """Name -> the optimizer's own word for the parameter, of those that have been updated; and what told it.

    Names tell it, where the optimizer kept them. Otherwise each group is taken to have its parameters in the order of
    the model, as every selection from `model.parameters()` has. Exactly one way to deal the model's parameters out to
    the groups has to fit all shapes; of several, that of Hugging Face's Trainer is taken beside its own files.

    Raises:
        CheckpointError: none fits, or several do.
    """
    if not all(isinstance(group, Mapping) and isinstance(group.get("params"), (list, tuple)) for group in groups):
        raise CheckpointError(f"{place} has groups of parameters without their `params`")
    identities = [identity for group in groups for identity in group["params"]]
    named = _by_kept_names(identities, groups, shapes)
    if named is not None:
        by: MatchedBy = "name"
        found = named
    else:
        if len(identities) != len(shapes):
            raise CheckpointError(
                f"{place} has the state of {len(identities)} parameters, the model trains {len(shapes)}"
            )
        by, found = "order", _by_order(entries, groups, shapes, layer_norms, place)
    if not all(_fits(entries.get(identity), shapes[name]) for name, identity in found.items()):
        raise CheckpointError(f"{place} has moments of other shapes than the parameters that it names")
    return {name: identity for name, identity in found.items() if identity in entries}, by


def _by_kept_names(
    identities: Sequence[Any], groups: Sequence[Any], shapes: Mapping[str, Shape]
) -> dict[str, Any] | None:
    if identities and set(identities) <= set(shapes):
        return {name: name for name in identities}
    kept = [str(name) for group in groups for name in group.get("param_names", ())]
    for names in (kept, [_INSERTED.sub("", name) for name in kept]):
        if names and len(names) == len(identities) == len(set(names)) and set(names) <= set(shapes):
            return dict(zip(names, identities, strict=True))
    return None


def _by_order(
    entries: Mapping[Any, Any],
    groups: Sequence[Any],
    shapes: Mapping[str, Shape],
    layer_norms: Collection[str],
    place: Path,
) -> dict[str, Any]:
    rows = [list(group["params"]) for group in groups if group["params"]]
    ways = _ways(rows, entries, list(shapes.values()))
    if not ways:
        raise CheckpointError(f"{place} fits the model's parameters in no known order: {_ADVICE}")
    dealt = ways[0]
    if len(ways) > 1:
        trainers = [int(_is_left_alone(name, layer_norms)) for name in shapes]
        if (place.parent / TRAINER_STATE).is_file() and _deals(trainers, rows, entries, list(shapes.values())):
            dealt = trainers
        else:
            raise CheckpointError(
                f"{place} has the state of parameters in {len(rows)} groups without their names, and shapes alone do "
                f"not tell which is which: {_ADVICE}"
            )
    left = [iter(row) for row in rows]
    return {name: next(left[group]) for name, group in zip(shapes, dealt, strict=True)}


def _ways(rows: Sequence[Sequence[Any]], entries: Mapping[Any, Any], wanted: Sequence[Shape]) -> list[list[int]]:
    """For the model's parameters in their order, the group that each is of: all ways that fit, but no more than two.

    Each state is how many of each group have been dealt out; it has up to two ways that lead to it.
    """
    states: dict[tuple[int, ...], list[tuple[int, Any]]] = {(0,) * len(rows): [(-1, None)]}
    for shape in wanted:
        following: dict[tuple[int, ...], list[tuple[int, Any]]] = {}
        for state, ways in states.items():
            for group, row in enumerate(rows):
                if state[group] < len(row) and _fits(entries.get(row[state[group]]), shape):
                    key = (*state[:group], state[group] + 1, *state[group + 1 :])
                    known = following.setdefault(key, [])
                    known += [(group, way) for way in ways][: 2 - len(known)]
        if len(following) > _MAX_STATES:
            # Any two stand for that it is not certain.
            return [[], []]
        states = following
    return [_unrolled(way) for way in states.get(tuple(len(row) for row in rows), [])]


def _unrolled(way: tuple[int, Any]) -> list[int]:
    dealt = []
    node: Any = way
    while node[1] is not None:
        dealt.append(node[0])
        node = node[1]
    return dealt[::-1]


def _deals(
    dealt: Sequence[int], rows: Sequence[Sequence[Any]], entries: Mapping[Any, Any], wanted: Sequence[Shape]
) -> bool:
    """Whether each group gets as many as it has, of its shapes."""
    given = [[shape for group, shape in zip(dealt, wanted, strict=True) if group == index] for index in (0, 1)]
    return len(rows) == 2 and all(
        len(row) == len(shapes) and all(_fits(entries.get(i), shape) for i, shape in zip(row, shapes, strict=True))
        for row, shapes in zip(rows, given, strict=True)
    )


def _is_left_alone(name: str, layer_norms: Collection[str]) -> bool:
    """Whether Hugging Face's Trainer has it in its second group, which does not decay."""
    return name in layer_norms or _NOT_DECAYED.search(name.lower()) is not None


def _fits(entry: Any, shape: Shape) -> bool:
    """Whether a state, which a parameter without a gradient has not, is one of the shape."""
    return entry is None or (isinstance(entry, Mapping) and tuple(getattr(entry.get("exp_avg"), "shape", ())) == shape)
