"""A checkpoint's tensors matched with the model's names: exactly, or an error that says what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from slicer_core.errors import CheckpointError, suggestion
from slicer_core.parameters import LazyTensors, NamedTensors, row_blocks, rows_of, shapes_of

# A counter that no evaluation reads; old checkpoints lack it.
_OPTIONAL_SUFFIX = "num_batches_tracked"
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """The ways in which names and shapes differ, each a line for a person; empty where all fit."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes)

    def describe(self) -> str:
        """A short text: how many and which."""
        parts = [
            _listed("missing from the checkpoint", self.missing),
            _listed("not in the model", self.unexpected),
            _listed("of another shape", self.shapes),
        ]
        return "; ".join(part for part in parts if part)


def compare_names(shapes: Mapping[str, tuple[int, ...]], model: nn.Module) -> Mismatch:
    """How a checkpoint's names and shapes differ from the model's; any of a tied tensor's names will do."""
    aliases = _aliases(model)
    known = {name for names in aliases.values() for name in names}
    missing, wrong = [], []
    for name, names in aliases.items():
        there = [alias for alias in names if alias in shapes]
        if not there and not name.endswith(_OPTIONAL_SUFFIX):
            extra = [other for other in shapes if other not in known]
            missing.append(f"{name}{suggestion(name, extra)}")
        expected = tuple(_tensor(model, name).shape)
        wrong += [
            f"{alias} is {list(shapes[alias])}, the model's is {list(expected)}"
            for alias in there
            if tuple(shapes[alias]) != expected
        ]
    extra = [f"{name}{suggestion(name, known)}" for name in shapes if name not in known]
    return Mismatch(missing=tuple(missing), unexpected=tuple(extra), shapes=tuple(wrong))


def match_state(tensors: NamedTensors, model: nn.Module, *, source: str) -> NamedTensors:
    """The checkpoint under the model's own names (parameters, then buffers), in the model's dtypes and device.

    Lazy where the checkpoint is.

    Raises:
        CheckpointError: names or shapes differ, two names of one tied tensor hold different values, or integers are
            there in place of floating numbers (a quantized checkpoint).
    """
    saved = shapes_of(tensors)
    mismatch = compare_names({name: tuple(tensor.shape) for name, tensor in saved.items()}, model)
    if mismatch:
        raise CheckpointError(f"{source} does not fit the model: {mismatch.describe()}")
    own = {name: _tensor(model, name).detach() for name in _aliases(model)}
    found: dict[str, str] = {}
    for name, names in _aliases(model).items():
        there = [alias for alias in names if alias in saved]
        if not there:
            own[name] = own[name].clone()
            continue
        if any(not _same(tensors, alias, there[0]) for alias in there[1:]):
            raise CheckpointError(f"{source} has different values in {' and '.join(there)}, which the model ties")
        dtype = saved[there[0]].dtype
        if own[name].is_floating_point() and not dtype.is_floating_point:
            raise CheckpointError(
                f"{source} has {there[0]} in {str(dtype).removeprefix('torch.')}, the model's is floating: is it "
                "quantized? Save it in a floating dtype"
            )
        found[name] = there[0]

    def rows(name: str, start: int, stop: int) -> Tensor:
        if name not in found:
            return rows_of(own, name, start, stop)
        return rows_of(tensors, found[name], start, stop).to(own[name].device, own[name].dtype)

    if isinstance(tensors, LazyTensors):
        return LazyTensors({name: tensor.to("meta") for name, tensor in own.items()}, rows)
    return {
        name: tensors[found[name]].to(tensor.device, tensor.dtype) if name in found else tensor
        for name, tensor in own.items()
    }


def _aliases(model: nn.Module) -> dict[str, list[str]]:
    """Name of each parameter and saved buffer -> all names under which a state dict may have it."""
    first_name: dict[int, str] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        first_name[id(tensor)] = name
    # keep_vars gives the model's own tensors, whose identity tells which names are tied.
    groups: dict[str, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor):
            groups.setdefault(first_name.get(id(tensor), name), []).append(name)
    return groups


def _same(tensors: NamedTensors, left: str, right: str) -> bool:
    """Whether all values are equal; NaN, as a diverged training leaves it, equals NaN."""
    for start, stop in row_blocks(shapes_of(tensors)[left]):
        pair = [rows_of(tensors, name, start, stop) for name in (left, right)]
        first, second = (rows.double() if rows.is_floating_point() else rows for rows in pair)
        if not ((first == second) | ((first != first) & (second != second))).all():
            return False
    return True


def _tensor(model: nn.Module, name: str) -> Tensor:
    owner, _, leaf = name.rpartition(".")
    return getattr(model.get_submodule(owner), leaf)


def _listed(label: str, lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    rest = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{len(lines)} {label}: {', '.join(lines[:_SHOWN])}{rest}"
