"""Adam's moments of each parameter, from the optimizer's state in a checkpoint: opened only where asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer_core.checkpoints.checkpoint import Checkpoint
from slicer_core.checkpoints.distributed_format import DISTRIBUTED, load_optimizer_tree
from slicer_core.checkpoints.torch_format import TORCH, load_torch
from slicer_core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

OPTIMIZER_KEYS = ("optimizer", "optimizer_state_dict", "optim", "optimizer_state", "optimizer_states")
_BESIDE = ("optimizer.pt", "optimizer.bin")
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class AdamMoments:
    """One parameter's running means of gradient and squared gradient, both of its shape, after `step` updates.

    `betas` and `eps` are its group's. The moments are as they are stored: not corrected for their start at zero.
    """

    exp_avg: Tensor
    exp_avg_sq: Tensor
    step: int
    betas: tuple[float, float]
    eps: float


def adam_moments(checkpoint: Checkpoint, parameters: Mapping[str, Sequence[int]]) -> dict[str, AdamMoments]:
    """Name -> moments, of the optimizer's state in the checkpoint's file or beside its weights.

    An optimizer counts its parameters without their names. They are matched by the names that newer ones keep, else by
    order: that of the model, or, with two groups, that of the model among tensors of two or more dimensions and among
    the others, as trainers split them for weight decay. All shapes have to fit.

    Args:
        checkpoint: where to look.
        parameters: name -> shape of the parameters that were trained, in the order of `model.named_parameters()`.

    Raises:
        CheckpointError: there is no state, it is not Adam's, or it does not fit the parameters.
    """
    shapes = {name: tuple(shape) for name, shape in parameters.items()}
    place, state = _optimizer_state(checkpoint)
    entries, groups = state.get("state"), state.get("param_groups")
    if not isinstance(entries, Mapping) or not isinstance(groups, (list, tuple)) or not entries:
        raise CheckpointError(f"{place} has no state of an optimizer's parameters")
    first = next(iter(entries.values()))
    if not isinstance(first, Mapping) or not {"exp_avg", "exp_avg_sq"} <= set(first):
        held = ", ".join(map(str, first)) if isinstance(first, Mapping) else type(first).__name__
        raise CheckpointError(
            f"{place} is not the state of an Adam optimizer: expected exp_avg and exp_avg_sq, it has {held}"
        )
    by_name = _by_name(entries, groups, shapes, place)
    settings = {identity: group for group in groups for identity in group["params"]}
    return {
        name: _moments(entries[identity], settings.get(identity, groups[0]), name, shapes[name], place)
        for name, identity in by_name.items()
    }


def _optimizer_state(checkpoint: Checkpoint) -> tuple[Path, Mapping[Any, Any]]:
    if checkpoint.format is DISTRIBUTED:
        return checkpoint.data, load_optimizer_tree(checkpoint.data, OPTIMIZER_KEYS)
    if checkpoint.format is TORCH:
        loaded = load_torch(checkpoint.data, checkpoint.options)
        found = next((loaded[key] for key in OPTIMIZER_KEYS if key in loaded), None)
        if isinstance(found, (list, tuple)):
            if len(found) != 1:
                raise CheckpointError(f"{checkpoint.data} has the states of {len(found)} optimizers, expected one")
            (found,) = found
        if isinstance(found, Mapping):
            return checkpoint.data, found
    for name in _BESIDE:
        file = checkpoint.data.parent / name
        if checkpoint.data != checkpoint.path and file.is_file():
            loaded = load_torch(file, checkpoint.options)
            if isinstance(loaded, Mapping):
                return file, loaded
    raise CheckpointError(
        f"{checkpoint.path} has no state of an optimizer: expected it in the file under "
        f"{', '.join(OPTIMIZER_KEYS[:3])}, or in {' or '.join(_BESIDE)} beside the weights of a folder"
    )


def _by_name(
    entries: Mapping[Any, Any], groups: Sequence[Any], shapes: Mapping[str, Shape], place: Path
) -> dict[str, Any]:
    """Name -> the optimizer's own word for the parameter, of those that have been updated."""
    if not all(isinstance(group, Mapping) and isinstance(group.get("params"), (list, tuple)) for group in groups):
        raise CheckpointError(f"{place} has groups of parameters without their `params`")
    identities = [identity for group in groups for identity in group["params"]]
    if set(identities) <= set(shapes):
        return {name: name for name in identities if name in entries}
    kept = [name for group in groups for name in group.get("param_names", ())]
    if len(kept) == len(identities) and set(kept) <= set(shapes):
        orders = [kept]
    else:
        if len(identities) != len(shapes):
            raise CheckpointError(
                f"{place} has the state of {len(identities)} parameters, the model trains {len(shapes)}"
            )
        names = list(shapes)
        matrices = [name for name in names if len(shapes[name]) > 1]
        others = [name for name in names if len(shapes[name]) <= 1]
        orders = [names] if len(groups) == 1 else [names, matrices + others, others + matrices]
    for order in orders:
        found = dict(zip(order, identities, strict=True))
        if all(_fits(entries.get(identity), shapes[name]) for name, identity in found.items()):
            return {name: identity for name, identity in found.items() if identity in entries}
    raise CheckpointError(
        f"{place} fits the model's parameters in no known order: give the optimizer `model.named_parameters()`, whose "
        "names it saves"
    )


def _fits(entry: Any, shape: Shape) -> bool:
    """Whether a state, which a parameter without a gradient has not, is one of the shape."""
    return entry is None or (isinstance(entry, Mapping) and tuple(getattr(entry.get("exp_avg"), "shape", ())) == shape)


def _moments(entry: Mapping[Any, Any], group: Mapping[Any, Any], name: str, shape: Shape, place: Path) -> AdamMoments:
    import torch

    exp_avg, exp_avg_sq, step = entry.get("exp_avg"), entry.get("exp_avg_sq"), entry.get("step")
    for moment in (exp_avg, exp_avg_sq):
        if not isinstance(moment, torch.Tensor) or tuple(moment.shape) != shape:
            raise CheckpointError(f"{place} has moments of {name} that are not of its shape {list(shape)}")
    assert exp_avg is not None
    assert exp_avg_sq is not None
    count = step.item() if isinstance(step, torch.Tensor) and step.numel() == 1 else step
    betas, eps = group.get("betas", (0.9, 0.999)), group.get("eps", 1e-8)
    if not isinstance(count, (int, float)) or not count >= 0 or not isinstance(betas, (list, tuple)) or len(betas) != 2:
        raise CheckpointError(f"{place} does not say how many updates {name} has had, or with which betas")
    return AdamMoments(
        exp_avg=exp_avg.detach(),
        exp_avg_sq=exp_avg_sq.detach(),
        step=int(count),
        betas=(float(betas[0]), float(betas[1])),
        eps=float(eps),
    )
