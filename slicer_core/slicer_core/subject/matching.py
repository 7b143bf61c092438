"""A checkpoint's tensors matched with the model's names: exactly, or an error that says what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from slicer_core.errors import CheckpointError, suggestion

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


def match_state(tensors: Mapping[str, Tensor], model: nn.Module, *, source: str) -> dict[str, Tensor]:
    """The checkpoint under the model's own names (parameters, then buffers), in the model's dtypes and device.

    Raises:
        CheckpointError: names or shapes differ, two names of one tied tensor hold different values, or integers are
            there in place of floating numbers (a quantized checkpoint).
    """
    mismatch = compare_names({name: tuple(tensor.shape) for name, tensor in tensors.items()}, model)
    if mismatch:
        raise CheckpointError(f"{source} does not fit the model: {mismatch.describe()}")
    state: dict[str, Tensor] = {}
    for name, names in _aliases(model).items():
        own = _tensor(model, name)
        there = [alias for alias in names if alias in tensors]
        if not there:
            state[name] = own.detach().clone()
            continue
        if any(not _same(tensors[alias], tensors[there[0]]) for alias in there[1:]):
            raise CheckpointError(f"{source} has different values in {' and '.join(there)}, which the model ties")
        saved = tensors[there[0]]
        if own.is_floating_point() and not saved.is_floating_point():
            raise CheckpointError(
                f"{source} has {there[0]} in {str(saved.dtype).removeprefix('torch.')}, the model's is floating: is it "
                "quantized? Save it in a floating dtype"
            )
        state[name] = saved.to(own.device, own.dtype)
    return state


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


def _same(left: Tensor, right: Tensor) -> bool:
    """Whether all values are equal; NaN, as a diverged training leaves it, equals NaN."""
    left, right = (tensor.double() if tensor.is_floating_point() else tensor for tensor in (left, right))
    return bool(((left == right) | ((left != left) & (right != right))).all())


def _tensor(model: nn.Module, name: str) -> Tensor:
    owner, _, leaf = name.rpartition(".")
    return getattr(model.get_submodule(owner), leaf)


def _listed(label: str, lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    rest = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{len(lines)} {label}: {', '.join(lines[:_SHOWN])}{rest}"
