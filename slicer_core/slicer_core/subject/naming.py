"""The one way in which a checkpoint's names become the model's: a prefix that trainers and wrappers put before them.

Which names and shapes fit is decided from the checkpoint's header; its values are read in `matching`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import nn

from slicer_core.errors import suggestion
from slicer_core.subject.conversion import converted
from slicer_core.subject.targets import Target, adapter_targets, ignored_patterns, targets_of

# Names that torch's own wrappers put anywhere in a path, and that no module of a user's has.
_INSERTED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
# Prefixes of trainers and wrappers, in any nesting.
_WRAPPERS = re.compile(r"^(?:(?:base_model\.model|module|model|net|network)\.)*$")
_SHOWN = 5


class SavedTensor(Protocol):
    """What a header says of a tensor."""

    @property
    def shape(self) -> Sequence[int]:
        """Entries along each dimension."""
        ...

    @property
    def dtype(self) -> object:
        """Torch's, or its name without the prefix."""
        ...


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How the checkpoint's tensors are the model's.

    `saved`: the model's name -> the checkpoint's names that hold its tensor, the first of which is taken. `derived`:
    likewise for what the model makes itself, to be compared. `from_module`: names whose values are the module's own.
    `is_converted`: the checkpoint's names are those of `conversion.converted`. `notes`: what a person should know, each
    a line.
    """

    saved: Mapping[str, tuple[str, ...]]
    derived: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    from_module: tuple[str, ...] = ()
    is_converted: bool = False
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """`fits`, and how."""
        return "; ".join(("fits", *self.notes))


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """What differs: names and shapes, each a line for a person, or the ways that are open."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    closest: str = ""
    hint: str = ""

    @property
    def size(self) -> int:
        """How many tensors differ."""
        return len(self.missing) + len(self.unexpected) + len(self.shapes) + len(self.kinds)

    def describe(self) -> str:
        """A short text: how many and which."""
        if self.ways:
            count = f"{len(self.ways)} {'way' if len(self.ways) == 1 else 'ways'}"
            return f"its names fit in {count}: {'; '.join(self.ways)}. {self.hint}"
        parts = [
            self.closest,
            _listed("missing from the checkpoint", _with_nearest(self.missing, self.unexpected)),
            _listed("not in the model", _with_nearest(self.unexpected, self.missing)),
            _listed("of another shape", self.shapes),
            _listed("of another kind", self.kinds),
        ]
        return "; ".join(part for part in (*parts, self.hint) if part)


@dataclass(frozen=True, kw_only=True)
class _Way:
    """The checkpoint's names without `stripped`, and with `added`: name as the model may have it -> as it is saved."""

    stripped: str
    added: str
    view: Mapping[str, str]
    outside: tuple[str, ...]

    def describe(self) -> str:
        done = f"those under `{self.stripped}`" if self.stripped else "all of them"
        return f"{done}, as `{self.added}…`" if self.added else done

    def notes(self) -> list[str]:
        notes = [f"`{self.stripped}` is stripped from the names"] if self.stripped else []
        if self.added:
            notes.append(f"`{self.added}` is put before the names")
        if self.outside:
            notes.append(f"left out are {_listed(f'outside `{self.stripped}`', self.outside)}")
        return notes


def fit_names(saved: Mapping[str, SavedTensor], model: nn.Module) -> Fit | Mismatch:
    """How the checkpoint's tensors are the model's, or how they differ.

    They fit if exactly one way leads from the checkpoint's names to all of the model's: as they are, without a prefix
    that all have, or the part of them under a prefix of known wrappers. An adapter's file fits a model with that
    adapter, whose other tensors are then the module's own. Otherwise `transformers` may have rules for its own model.
    """
    found = _fit(saved, targets_of(model), model)
    if isinstance(found, Fit):
        return found
    adapter = adapter_targets(model)
    with_adapter = _fit(saved, adapter, model) if adapter else found
    if isinstance(with_adapter, Fit):
        return with_adapter
    if found.ways:
        return found
    with_rules = _fit_converted(saved, model)
    if with_rules is not None:
        return with_rules
    closest = min(found, with_adapter, key=lambda mismatch: mismatch.size)
    return replace(closest, hint=_hint(saved, closest, has_adapter=bool(adapter)))


def _fit(saved: Mapping[str, SavedTensor], targets: Sequence[Target], model: nn.Module) -> Fit | Mismatch:
    patterns = ignored_patterns(model)
    as_it_is = _Way(stripped="", added="", view={name: name for name in saved}, outside=())
    found = _matched(as_it_is, saved, targets, patterns)
    if isinstance(found, Fit):
        return found
    tried = [(way, _matched(way, saved, targets, patterns)) for way in _ways(list(saved), targets)]
    fits = [(way, fit) for way, fit in tried if isinstance(fit, Fit)]
    whole = _different([(way, fit) for way, fit in fits if not way.outside])
    chosen = whole or _different(fits)
    # Of a part that has another name, only the user knows whether it is meant.
    if len(chosen) == 1 and (not chosen[0][0].outside or _WRAPPERS.match(chosen[0][0].stripped)):
        return chosen[0][1]
    if chosen:
        return Mismatch(
            ways=tuple(way.describe() for way, _ in chosen),
            hint=_choice([way for way, _ in chosen]),
        )
    closest, size = found, found.size
    for way, mismatch in tried:
        if isinstance(mismatch, Mismatch) and mismatch.size + len(way.outside) < size:
            closest = replace(mismatch, closest=f"with {way.describe()}" if way.stripped or way.added else "")
            size = mismatch.size + len(way.outside)
    return closest


def _fit_converted(saved: Mapping[str, SavedTensor], model: nn.Module) -> Fit | None:
    """How they fit once `transformers` has renamed and stacked them, if they do."""
    dtypes = {name: getattr(torch, _word(tensor.dtype), None) for name, tensor in saved.items()}
    if not all(isinstance(dtype, torch.dtype) for dtype in dtypes.values()):
        return None
    like = {name: torch.empty(tuple(saved[name].shape), dtype=dtypes[name], device="meta") for name in saved}
    changed = converted(like, model)
    found = None if changed is None else _fit(changed, targets_of(model), model)
    if changed is None or not isinstance(found, Fit):
        return None
    there = [name for name in like if name not in changed]
    note = _listed("tensors renamed or stacked by the rules of transformers", there)
    return replace(found, is_converted=True, notes=(note, *found.notes))


def _choice(ways: Sequence[_Way]) -> str:
    """How the user says which way is meant."""
    keys = [way.stripped.rstrip(".") for way in ways if way.stripped]
    if keys:
        return f"Say which part is meant, as in --weights {keys[0]}, or build the model with the checkpoint's names"
    return "Build the model with the checkpoint's names"


def _ways(saved: Sequence[str], targets: Sequence[Target]) -> list[_Way]:
    """Prefixes to leave out and to put before, such that at least one tensor that is needed is there."""
    plain = _without_inserted(saved)
    wanted = [tuple(".".join(_own_parts(name)) for name in target.names) for target in targets if target.needed]
    if not wanted:
        return []
    added = ["", *_prefixes(_common_prefix([name for names in wanted for name in names]))]
    anchors = max(wanted, key=lambda names: names[0].count("."))
    stripped = {"", *_prefixes(_common_prefix(list(plain)))}
    for name in plain:
        for anchor in anchors:
            for put in added:
                rest = anchor[len(put) :]
                if name.endswith(rest) and (len(name) == len(rest) or name[-len(rest) - 1] == "."):
                    stripped.add(name[: -len(rest)])
    model_names = {".".join(_own_parts(name)): name for target in targets for name in (*target.names, *target.others)}
    ways = []
    for prefix in sorted(stripped, key=len):
        inside = {name: original for name, original in plain.items() if name.startswith(prefix)}
        outside = tuple(original for name, original in plain.items() if name not in inside)
        for put in added:
            if prefix and put and not (_WRAPPERS.match(prefix) and _WRAPPERS.match(put)):
                continue
            view = {put + name[len(prefix) :]: original for name, original in inside.items()}
            # Where the model itself is wrapped, its names have what the wrapper inserts.
            view = {model_names.get(name, name): original for name, original in view.items()}
            ways.append(_Way(stripped=prefix, added=put, view=view, outside=outside))
    return ways


def _matched(
    way: _Way, saved: Mapping[str, SavedTensor], targets: Sequence[Target], patterns: Sequence[re.Pattern[str]]
) -> Fit | Mismatch:
    there: dict[str, tuple[str, ...]] = {}
    derived: dict[str, tuple[str, ...]] = {}
    missing, renamed, defaults, module_own, shapes, kinds = [], [], [], [], [], []
    known: set[str] = set()
    for target in targets:
        known |= {*target.names, *target.others}
        found = [name for name in target.names if name in way.view] or [
            name for name in target.others if name in way.view
        ][:1]
        if not found:
            if target.is_derived:
                continue
            if target.needed and not target.has_default():
                missing.append(target.name)
            else:
                (defaults if target.needed else module_own).append(target.name)
            continue
        (derived if target.is_derived else there)[target.name] = tuple(way.view[name] for name in found)
        if found[0] not in (target.name, target.names[0]):
            renamed.append(f"{found[0]} for {target.name}")
        for name in found:
            tensor = saved[way.view[name]]
            if tuple(tensor.shape) != target.shape:
                shapes.append(f"{name} is {list(tensor.shape)}, the model's is {list(target.shape)}")
            elif not target.is_derived and _loses(tensor.dtype, target.tensor.dtype):
                kinds.append(
                    f"{name} in {_word(tensor.dtype)}, the model's in {_word(target.tensor.dtype)} (is the checkpoint "
                    "quantized? Save it in a floating dtype)"
                )
    others = [name for name in way.view if name not in known]
    declared = [name for name in others if any(pattern.search(name) for pattern in patterns)]
    unexpected = [name for name in others if name not in declared]
    if missing or unexpected or shapes or kinds:
        return Mismatch(missing=tuple(missing), unexpected=tuple(unexpected), shapes=tuple(shapes), kinds=tuple(kinds))
    notes = way.notes()
    notes += _note("read under another name", renamed)
    notes += _note("saved copies left out of what the model makes itself", [*derived, *declared])
    notes += _note("with the module's own value, since the checkpoint has none", defaults)
    notes += _note("not in the checkpoint, which is an adapter, and taken from the module", module_own)
    notes += _casts(there, saved, targets)
    return Fit(saved=there, derived=derived, from_module=(*defaults, *module_own), notes=tuple(notes))


def _casts(
    there: Mapping[str, tuple[str, ...]], saved: Mapping[str, SavedTensor], targets: Sequence[Target]
) -> list[str]:
    own = {target.name: _word(target.tensor.dtype) for target in targets}
    pairs = Counter((_word(saved[names[0]].dtype), own[name]) for name, names in there.items())
    return [
        f"{count} tensors cast from {before} to {after}" for (before, after), count in pairs.items() if before != after
    ]


def _different(fits: Sequence[tuple[_Way, Fit]]) -> list[tuple[_Way, Fit]]:
    """One of each that give the model the same tensors."""
    chosen: list[tuple[_Way, Fit]] = []
    for way, fit in fits:
        if not any(fit.saved == other.saved for _, other in chosen):
            chosen.append((way, fit))
    return chosen


def _hint(saved: Mapping[str, SavedTensor], mismatch: Mismatch, *, has_adapter: bool) -> str:
    if not has_adapter and any("lora_" in name for name in mismatch.unexpected):
        return "the checkpoint has a LoRA adapter: build the model with peft.get_peft_model around its base model"
    if any(name.endswith(("_scale", "_scale_inv", ".absmax", ".qweight")) for name in mismatch.unexpected):
        return "the checkpoint is quantized, with scales of its own: save it in a floating dtype"
    return ""


def _without_inserted(names: Sequence[str]) -> dict[str, str]:
    """Name without what torch's wrappers insert -> the name; as they are where two would become one."""
    plain = {".".join(_own_parts(name)): name for name in names}
    return plain if len(plain) == len(names) else {name: name for name in names}


def _own_parts(name: str) -> list[str]:
    return [part for part in name.split(".") if part not in _INSERTED]


def _common_prefix(names: Sequence[str]) -> str:
    """The dotted prefix that all names have, with its last dot."""
    first, last = min(names, default=""), max(names, default="")
    length = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[: first.rfind(".", 0, length) + 1]


def _prefixes(prefix: str) -> list[str]:
    return [prefix[: at + 1] for at, letter in enumerate(prefix) if letter == "."]


def _loses(saved: object, own: torch.dtype) -> bool:
    """Whether the saved tensor is no number of the model's kind: codes of a quantization, or complex numbers."""
    word = _word(saved)
    if own.is_floating_point:
        return not word.startswith(("float", "bfloat"))
    return word.startswith("complex") and not own.is_complex


def _word(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def _with_nearest(names: Sequence[str], others: Sequence[str]) -> list[str]:
    # The rest is only counted, and looking for what is nearest takes long.
    return [f"{name}{suggestion(name, others)}" for name in names[:_SHOWN]] + list(names[_SHOWN:])


def _note(label: str, names: Sequence[str]) -> list[str]:
    return [_listed(label, names)] if names else []


def _listed(label: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    rest = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{len(lines)} {label}: {', '.join(lines[:_SHOWN])}{rest}"
